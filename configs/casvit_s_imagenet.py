"""CAS-ViT-S on ImageNet-1k, the published pretraining."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(arch='s'), head=dict(in_channels=256))
