"""Tiny detectors of one stage, of mmdet's classes alone, whose predictions depend on the image."""

import torch
from helpers import TINY_ARCH, randomize_norms
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

WIDTHS = list(TINY_ARCH['embed_dims'][1:])
CLASSES = ('a', 'b', 'c')

FOCAL = dict(type='FocalLoss', use_sigmoid=True)
QUALITY = dict(type='QualityFocalLoss', use_sigmoid=True)
GIOU = dict(type='GIoULoss')
ANCHORS = dict(
    type='AnchorGenerator',
    ratios=[1.0],
    octave_base_scale=8,
    scales_per_octave=1,
    strides=[8, 16, 32, 64, 128],
)
DELTAS = dict(
    type='DeltaXYWHBBoxCoder',
    target_means=[0.0, 0.0, 0.0, 0.0],
    target_stds=[0.1, 0.1, 0.2, 0.2],
)
POINTS = dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32])
RTMDET = dict(
    anchor_generator=POINTS,
    bbox_coder=dict(type='DistancePointBBoxCoder'),
    loss_cls=QUALITY,
    loss_bbox=GIOU,
    norm_cfg=dict(type='BN'),
)
# Head of each, without its channels and classes.
HEADS = {
    'rtmdet': dict(
        type='RTMDetSepBNHead', with_objectness=False, exp_on_reg=True, share_conv=True, **RTMDET
    ),
    'rtmdet with objectness': dict(type='RTMDetHead', with_objectness=True, **RTMDET),
    'rtmdet-ins': dict(
        type='RTMDetInsSepBNHead',
        with_objectness=False,
        loss_mask=dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean'),
        **RTMDET,
    ),
    'fcos': dict(
        type='FCOSHead', strides=ANCHORS['strides'], loss_cls=FOCAL, loss_bbox=GIOU, norm_cfg=None
    ),
    'fcos with tricks': dict(
        type='FCOSHead',
        strides=ANCHORS['strides'],
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        norm_cfg=None,
    ),
    'atss': dict(
        type='ATSSHead',
        anchor_generator=ANCHORS,
        bbox_coder=DELTAS,
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        norm_cfg=dict(type='BN'),
    ),
    'gfl': dict(
        type='GFLHead',
        anchor_generator=ANCHORS,
        loss_cls=QUALITY,
        loss_bbox=GIOU,
        loss_dfl=dict(type='DistributionFocalLoss'),
        reg_max=4,
        norm_cfg=dict(type='BN'),
    ),
    'yolox': dict(type='YOLOXHead'),
    'paa': dict(
        type='PAAHead',
        anchor_generator=ANCHORS,
        bbox_coder=DELTAS,
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        norm_cfg=dict(type='BN'),
    ),
}
CSP_NECK = dict(in_channels=WIDTHS, out_channels=16, num_csp_blocks=1)
NECKS = {
    'rtmdet': dict(type='CSPNeXtPAFPN', **CSP_NECK),
    'rtmdet-ins': dict(type='CSPNeXtPAFPN', **CSP_NECK),
    'rtmdet with objectness': dict(type='CSPNeXtPAFPN', **CSP_NECK),
    'yolox': dict(type='YOLOXPAFPN', **CSP_NECK),
}
FPN = dict(type='FPN', in_channels=WIDTHS, out_channels=16, num_outs=5, add_extra_convs='on_output')
TEST_CFG = dict(
    nms_pre=60,
    min_bbox_size=0,
    score_thr=0.3,
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=80,
    mask_thr_binary=0.5,
)


def dense_config(kind: str, **changes: object) -> ConfigDict:
    """Return the config of a tiny detector; ``changes`` are to its test_cfg."""
    head = dict(HEADS[kind], num_classes=len(CLASSES), in_channels=16, feat_channels=16)
    if kind != 'yolox':
        head['stacked_convs'] = 1
    test_cfg = dict(TEST_CFG, **changes)
    if kind == 'yolox':  # as mmdet's configs have it
        test_cfg = dict(score_thr=test_cfg['score_thr'], nms=test_cfg['nms'])
    return ConfigDict(
        type='SingleStageDetector',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[103.53, 116.28, 123.675],
            std=[57.375, 57.12, 58.395],
            bgr_to_rgb=False,
            pad_size_divisor=32,
        ),
        backbone=dict(type='CASViT', arch=TINY_ARCH, out_indices=(1, 2, 3)),
        neck=NECKS.get(kind, FPN),
        bbox_head=head,
        test_cfg=test_cfg,
    )


def dense_detector(kind: str, **changes: object) -> torch.nn.Module:
    """Build a tiny detector in eval mode with weights that spread scores and boxes."""
    from mmdet.registry import MODELS

    import casvit_mm  # noqa: F401

    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(dense_config(kind, **changes))
    spread(model)
    return model.eval()


def spread(model: torch.nn.Module) -> None:
    """Make scores, boxes and their factors depend on the image."""
    randomize_norms(model)
    for name, parameter in model.bbox_head.named_parameters():
        if parameter.dim() == 4:
            torch.nn.init.normal_(parameter, std=(1.5 / parameter[0].numel()) ** 0.5)
        elif name.endswith('bias') and 'bn' not in name:
            torch.nn.init.normal_(parameter, std=0.2)
            if 'rtm_kernel' in name:
                parameter.data[-1] = 20  # the bias of the last layer, or masks would be empty
