"""The light RTMDet with the backbone of RTMDet-tiny, to compare."""

_base_ = './rtmdet_casvit_xs_light.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='CSPNeXt',
        arch='P5',
        expand_ratio=0.5,
        deepen_factor=0.167,
        widen_factor=0.375,
        channel_attention=True,
        norm_cfg=dict(type='AutoSyncBN'),
        act_cfg=dict(type='SiLU', inplace=True),
    ),
    neck=dict(in_channels=[96, 192, 384]),
)
