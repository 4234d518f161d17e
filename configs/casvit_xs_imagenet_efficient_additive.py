"""CAS-ViT-XS with SwiftFormer's efficient additive attention as its token mixer."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='EfficientAdditiveTokenMixer')))
