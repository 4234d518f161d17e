"""Mask R-CNN with CAS-ViT-S on COCO: what differs from XS."""

_base_ = './maskrcnn_casvit_xs_coco.py'

model = dict(
    backbone=dict(
        arch='s',
        init_cfg=dict(checkpoint='checkpoints/cas-vit-s.pth'),
    ),
    neck=dict(in_channels=[48, 64, 128, 256]),
)
