"""CAS-ViT-M on ImageNet-1k, fine-tuned at 384 px as published."""

_base_ = './casvit_xs_imagenet_ft384.py'

model = dict(backbone=dict(arch='m'), head=dict(in_channels=384))
load_from = 'checkpoints/cas-vit-m.pth'
