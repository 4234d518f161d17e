"""FViT-B/32 on ImageNet-1k at 384 px, by the recipe of the plain ViT beside it."""

_base_ = './fvit_b16_imagenet.py'

model = dict(backbone=dict(arch='b32'))
