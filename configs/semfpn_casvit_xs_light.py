"""Semantic FPN with CAS-ViT-XS for a few hundred photographs on a small machine, from scratch.

Neck and head have 64 channels, since those of 256 cost several times as much as the backbone: one
second per iteration of 8 crops on two CPU cores with ``--channels-last``. Meant for
``--from-scratch --data``. ``segformer_casvit_xs_light.py`` is faster.
"""

_base_ = ['./_base_/models/semfpn.py', './_base_/segmentation_light.py']

model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(
        arch='xs',
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-xs.pth'),
    ),
    neck=dict(in_channels=[48, 56, 112, 220], out_channels=64),
    decode_head=dict(in_channels=[64, 64, 64, 64], channels=64),
)
