"""CAS-ViT-M on ImageNet-1k, the published pretraining."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(arch='m'), head=dict(in_channels=384))
