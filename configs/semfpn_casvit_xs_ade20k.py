"""Semantic FPN with CAS-ViT-XS on ADE20K, the published 40k recipe for 8 GPUs x 4."""

_base_ = [
    './_base_/models/semfpn.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/semfpn_40k.py',
    './_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='xs',
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-xs.pth'),
    ),
    neck=dict(in_channels=[48, 56, 112, 220]),
)
