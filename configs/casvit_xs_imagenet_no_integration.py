"""CAS-ViT-XS without the integration subnet: an ablation of the paper."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(local_integration='none'))
