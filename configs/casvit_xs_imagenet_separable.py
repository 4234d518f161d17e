"""CAS-ViT-XS with MobileViTv2's separable self-attention as its token mixer."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='SeparableTokenMixer')))
