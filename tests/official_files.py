"""Whole detectors and segmentors as the authors' code stores them, drawn from their keys.

The names and shapes were written down from mmdet 2.24 and mmsegmentation 0.24, with the authors'
configs, and know nothing of the package's own tables.
"""

import functools
from pathlib import Path

import torch
from helpers import ROOT, _draw, official_state_dict

CLASSES = ('circle', 'square', 'triangle')
LABELS = ('ground', *CLASSES)  # of the generated label maps
RECIPES = {
    'RetinaNet': 'retinanet_casvit_xs_coco',
    'Mask R-CNN': 'maskrcnn_casvit_xs_coco',
    'Semantic FPN': 'semfpn_casvit_xs_ade20k',
}
# Narrow necks and heads, so that tests are quick; the layout does not depend on the width.
WIDTH, HIDDEN = 16, 24
NARROW = {
    'RetinaNet': f"""
model = dict(
    neck=dict(out_channels={WIDTH}),
    bbox_head=dict(in_channels={WIDTH}, feat_channels={WIDTH}, num_classes=3))
""",
    'Mask R-CNN': f"""
extractor = dict(out_channels={WIDTH})
model = dict(
    neck=dict(out_channels={WIDTH}),
    rpn_head=dict(in_channels={WIDTH}, feat_channels={WIDTH}),
    roi_head=dict(
        bbox_roi_extractor=extractor,
        mask_roi_extractor=extractor,
        bbox_head=dict(in_channels={WIDTH}, fc_out_channels={HIDDEN}, num_classes=3),
        mask_head=dict(in_channels={WIDTH}, conv_out_channels={WIDTH}, num_classes=3)))
""",
    'Semantic FPN': f"""
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    neck=dict(out_channels={WIDTH}),
    decode_head=dict(in_channels=[{WIDTH}] * 4, channels={HIDDEN}, num_classes=4))
""",
}


def _layer(name, *shape):
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def _conv_bn(name, *shape):
    stats = dict.fromkeys(('weight', 'bias', 'running_mean', 'running_var'), shape[:1])
    stats['num_batches_tracked'] = ()
    return {f'{name}.conv.weight': shape, **{f'{name}.bn.{k}': v for k, v in stats.items()}}


def head_shapes(method, width=256, hidden=1024, classes=80) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what lies behind the trunk of an official CAS-ViT-XS file."""
    inputs = (48, 56, 112, 220)
    levels = inputs[1:] if method == 'RetinaNet' else inputs
    keys = {}
    for i, channels in enumerate(levels):
        keys |= _layer(f'neck.lateral_convs.{i}.conv', width, channels, 1, 1)
        keys |= _layer(f'neck.fpn_convs.{i}.conv', width, width, 3, 3)
    if method == 'RetinaNet':
        keys |= _layer('neck.fpn_convs.3.conv', width, 220, 3, 3)
        keys |= _layer('neck.fpn_convs.4.conv', width, width, 3, 3)
        for branch in ('cls', 'reg'):
            for i in range(4):
                keys |= _layer(f'bbox_head.{branch}_convs.{i}.conv', width, width, 3, 3)
        keys |= _layer('bbox_head.retina_cls', 9 * classes, width, 3, 3)
        keys |= _layer('bbox_head.retina_reg', 9 * 4, width, 3, 3)
    elif method == 'Mask R-CNN':
        keys |= _layer('rpn_head.rpn_conv', width, width, 3, 3)
        keys |= _layer('rpn_head.rpn_cls', 3, width, 1, 1)
        keys |= _layer('rpn_head.rpn_reg', 3 * 4, width, 1, 1)
        keys |= _layer('roi_head.bbox_head.shared_fcs.0', hidden, width * 7 * 7)
        keys |= _layer('roi_head.bbox_head.shared_fcs.1', hidden, hidden)
        keys |= _layer('roi_head.bbox_head.fc_cls', classes + 1, hidden)
        keys |= _layer('roi_head.bbox_head.fc_reg', classes * 4, hidden)
        for i in range(4):
            keys |= _layer(f'roi_head.mask_head.convs.{i}.conv', width, width, 3, 3)
        keys |= _layer('roi_head.mask_head.upsample', width, width, 2, 2)
        keys |= _layer('roi_head.mask_head.conv_logits', classes, width, 1, 1)
    else:
        keys |= _layer('decode_head.conv_seg', classes, hidden, 1, 1)
        for level, places in enumerate(((0,), (0,), (0, 2), (0, 2, 4))):
            for place in places:
                name = f'decode_head.scale_heads.{level}.{place}'
                keys |= _conv_bn(name, hidden, hidden if place else width, 3, 3)
    return keys


@functools.cache
def official_model(method) -> dict[str, torch.Tensor]:
    """The state dict of an official model with narrow neck and heads, for the generated shapes."""
    trunk = official_state_dict('xs', dense=True)
    classes = len(LABELS if method == 'Semantic FPN' else CLASSES)
    heads = head_shapes(method, WIDTH, HIDDEN, classes)
    return {
        **{f'backbone.{key}': value for key, value in trunk.items()},
        **{key: torch.from_numpy(_draw(key, list(shape))) for key, shape in heads.items()},
    }


def save_official(path: Path, state) -> Path:
    """Write ``state`` as mmcv's runner does, with what mmdet 2 and mmseg 0 add."""
    classes = LABELS if 'decode_head.conv_seg.weight' in state else CLASSES
    optimizer = dict(state={0: dict(step=7, exp_avg=torch.zeros(3))}, param_groups=[dict(lr=2e-4)])
    meta = dict(
        mmdet_version='2.24.1',
        mmcv_version='1.5.0',
        CLASSES=classes,
        PALETTE=[[1, 2, 3]],
        env_info='sys.platform: linux',
        config='raise SystemExit',
        seed=0,
        exp_name='exp.py',
        epoch=12,
        iter=87960,
        time='Mon Jul  1 00:00:00 2024',
        hook_msgs=dict(best_score=0.374, best_ckpt='best.pth'),
    )
    torch.save(dict(meta=meta, state_dict=state, optimizer=optimizer), path)
    return path


def renamed(state, key):
    """``state`` with one key called otherwise."""
    assert key in state
    return {f'{k}_x' if k == key else k: value for k, value in state.items()}


def write_config(folder: Path, method) -> str:
    """Write the recipe of a method with narrow heads and small test images; return its path."""
    loading = "dict(type='LoadImageFromFile')"
    truth = "dict(type='LoadAnnotations')"
    if method == 'Semantic FPN':
        pipeline = f"[{loading}, {truth}, dict(type='PackSegInputs')]"
    else:
        masks = ', with_mask=True' if method == 'Mask R-CNN' else ''
        keys = "('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')"
        pipeline = (
            f"[{loading}, dict(type='Resize', scale=(64, 64), keep_ratio=True), "
            f"dict(type='LoadAnnotations', with_bbox=True{masks}), "
            f"dict(type='PackDetInputs', meta_keys={keys})]"
        )
    path = folder / f'{RECIPES[method]}_narrow.py'
    path.write_text(
        f'_base_ = {str(ROOT / "configs" / RECIPES[method]) + ".py"!r}\n{NARROW[method]}'
        f'small = {pipeline}\n'
        'loader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=small))\n'
        'val_dataloader = loader\ntest_dataloader = loader\n'
        'train_dataloader = dict(num_workers=0, persistent_workers=False)\n'
    )
    return str(path)
