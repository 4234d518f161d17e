"""SegFormer's head on CAS-ViT-S for ADE20K: 160k iterations, 8 GPUs x 2 images."""

_base_ = './segformer_casvit_xs_ade20k.py'

model = dict(
    backbone=dict(arch='s', init_cfg=dict(checkpoint='checkpoints/cas-vit-s.pth')),
    decode_head=dict(in_channels=[48, 64, 128, 256]),
)
