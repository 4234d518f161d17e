"""RetinaNet with CAS-ViT-M on COCO: what differs from XS."""

_base_ = './retinanet_casvit_xs_coco.py'

model = dict(
    backbone=dict(
        arch='m',
        # Published value; in their issue 7 (2025-03-17) the authors advise 0 for every variant.
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='checkpoints/cas-vit-m.pth'),
    ),
    neck=dict(in_channels=[96, 192, 384]),
)
