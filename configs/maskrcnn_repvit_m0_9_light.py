"""The light Mask R-CNN with timm's RepViT-M0.9 in place of CAS-ViT-XS, to compare backbones."""

_base_ = './maskrcnn_casvit_xs_light.py'
custom_imports = dict(imports=['casvit_mm.detection', 'mmpretrain.models'])

model = dict(
    backbone=dict(
        _delete_=True, type='mmpretrain.TIMMBackbone', model_name='repvit_m0_9', features_only=True
    ),
    neck=dict(in_channels=[48, 96, 192, 384]),
)
