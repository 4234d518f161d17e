"""Semantic FPN with CAS-ViT-S on ADE20K, the published 40k recipe for 8 GPUs x 4."""

_base_ = './semfpn_casvit_xs_ade20k.py'

model = dict(
    backbone=dict(
        arch='s',
        init_cfg=dict(checkpoint='checkpoints/cas-vit-s.pth'),
    ),
    neck=dict(in_channels=[48, 64, 128, 256]),
)
