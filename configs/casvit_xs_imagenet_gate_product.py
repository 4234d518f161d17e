"""CAS-ViT-XS with the product of gates that articles describe; no published weights."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(token_mixer=dict(type='GateProductTokenMixer')))
