"""The light Mask R-CNN with ResNet-50 in place of CAS-ViT-XS, to compare backbones."""

_base_ = './maskrcnn_casvit_xs_light.py'
custom_imports = dict(imports=['casvit_mm.detection', 'mmpretrain.models'])

model = dict(
    backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=50, out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
