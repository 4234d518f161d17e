"""SegFormer's head (https://arxiv.org/abs/2105.15203, section 3.2) on CAS-ViT, without a variant.

128 channels, where SegFormer-B0 has 256: the head then costs half of what the backbone XS does.
"""

_base_ = './segmentor.py'

model = dict(
    decode_head=dict(
        type='SegformerHead',
        in_index=[0, 1, 2, 3],
        channels=128,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='AutoSyncBN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
