"""UPerNet with CAS-ViT-M on ADE20K: 160k iterations, 8 GPUs x 2 images."""

_base_ = './upernet_casvit_s_ade20k.py'

model = dict(
    backbone=dict(arch='m', init_cfg=dict(checkpoint='checkpoints/cas-vit-m.pth')),
    decode_head=dict(in_channels=[64, 96, 192, 384]),
    auxiliary_head=dict(in_channels=192),
)
