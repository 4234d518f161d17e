"""The plain ViT-B/32 on ImageNet-1k at 384 px, as mmpretrain trains it: the baseline of FViT."""

_base_ = './vit_b16_imagenet.py'

model = dict(backbone=dict(patch_size=32))
