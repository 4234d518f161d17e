"""CAS-ViT-T on ImageNet-1k, the published pretraining."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(arch='t'), head=dict(in_channels=512))
