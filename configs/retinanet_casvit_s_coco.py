"""RetinaNet with CAS-ViT-S on COCO: what differs from XS."""

_base_ = './retinanet_casvit_xs_coco.py'

model = dict(
    backbone=dict(
        arch='s',
        init_cfg=dict(checkpoint='checkpoints/cas-vit-s.pth'),
    ),
    neck=dict(in_channels=[64, 128, 256]),
)
