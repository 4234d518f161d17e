"""CAS-ViT-XS with Fastformer's additive attention as its token mixer."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='FastformerTokenMixer')))
