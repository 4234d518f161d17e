"""CAS-ViT-XS with average pooling as its token mixer: the floor."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='PoolingTokenMixer')))
