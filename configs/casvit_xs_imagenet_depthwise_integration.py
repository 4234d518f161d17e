"""CAS-ViT-XS with the integration subnet that articles describe; no published weights."""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(local_integration='depthwise'))
