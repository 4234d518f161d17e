"""CAS-ViT-XS without the 3x3 on the sum of query and key: an ablation of the paper."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='AdditiveTokenMixer', dwconv=False)))
