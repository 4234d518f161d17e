"""CAS-ViT-XS without the channel gates of query and key: an ablation of the paper."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='AdditiveTokenMixer', channel_gate=False)))
