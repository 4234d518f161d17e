"""Mask R-CNN with CAS-ViT-T on COCO: what differs from XS."""

_base_ = './maskrcnn_casvit_xs_coco.py'

model = dict(
    backbone=dict(
        arch='t',
        # Published value; in their issue 7 (2025-03-17) the authors advise 0 for every variant.
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='checkpoints/cas-vit-t.pth'),
    ),
    neck=dict(in_channels=[96, 128, 256, 512]),
)
