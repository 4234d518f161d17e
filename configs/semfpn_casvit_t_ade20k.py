"""Semantic FPN with CAS-ViT-T on ADE20K, the published 40k recipe for 8 GPUs x 4."""

_base_ = './semfpn_casvit_xs_ade20k.py'

model = dict(
    backbone=dict(
        arch='t',
        # Published value; in their issue 7 (2025-03-17) the authors advise 0 for every variant.
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='checkpoints/cas-vit-t.pth'),
    ),
    neck=dict(in_channels=[96, 128, 256, 512]),
)
