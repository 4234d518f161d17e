"""CAS-ViT-XS with the product that articles describe, of the published gates; no weights exist."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='GateProductTokenMixer')))
