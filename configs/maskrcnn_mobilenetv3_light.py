"""The light Mask R-CNN with MobileNetV3-Large in place of CAS-ViT-XS, to compare backbones."""

_base_ = './maskrcnn_casvit_xs_light.py'
custom_imports = dict(imports=['casvit_mm.detection', 'mmpretrain.models'])

model = dict(
    # The last layer before each stride doubles; 16 is the 1x1 convolution behind the last block,
    # which would get no gradient if 15 were returned.
    backbone=dict(
        _delete_=True,
        type='mmpretrain.MobileNetV3',
        arch='large',
        out_indices=(3, 6, 12, 16),
        # The momentum that the other backbones have. With its own 0.01 the running statistics
        # are still far from the images after a few hundred iterations, and AP is near zero.
        norm_cfg=dict(type='BN', eps=0.001, momentum=0.1),
    ),
    neck=dict(in_channels=[24, 40, 112, 960]),
)
