"""Tiny models of each task with arbitrary, reproducible predictions, for the tests of export."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, TINY_ARCH, randomize_norms
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from casvit_mm.config.class_counts import set_num_classes
from casvit_mm.datasets.shapes import CLASSES

WIDTHS = list(TINY_ARCH['embed_dims'])

CHANGES = {
    'classification': {'model.head.in_channels': WIDTHS[-1]},
    'segmentation': {
        'model.neck': dict(in_channels=WIDTHS, out_channels=16),
        'model.decode_head': dict(in_channels=[16] * 4, channels=16),
    },
    'segformer': {'model.decode_head': dict(in_channels=WIDTHS, channels=16)},
    'upernet': {
        'model.decode_head': dict(in_channels=WIDTHS, channels=16),
        'model.auxiliary_head': dict(in_channels=WIDTHS[2], channels=16),
    },
    'retinanet': {
        'model.neck': dict(in_channels=WIDTHS[1:], out_channels=32),
        'model.bbox_head': dict(in_channels=32, feat_channels=32),
        'model.test_cfg': dict(nms_pre=40, max_per_img=150, score_thr=0.3),
    },
    'maskrcnn': {
        'model.neck': dict(in_channels=WIDTHS),
        'model.test_cfg.rpn': dict(nms_pre=40, max_per_img=30),
        'model.test_cfg.rcnn': dict(max_per_img=60, score_thr=0.3),
    },
}
# OpenVINO is tested in lower precisions and as the fastest as well; all of it by make test-all.
FORMS = [
    'onnx',
    *(pytest.param(form, marks=pytest.mark.slow) for form in ('openvino', 'torch-export')),
]
CONFIGS = {
    'classification': 'casvit_xs_light',
    'segmentation': 'semfpn_casvit_xs_light',
    'segformer': 'segformer_casvit_xs_light',
    'upernet': 'upernet_casvit_s_ade20k',
    'retinanet': 'retinanet_casvit_xs_light',
    'maskrcnn': 'maskrcnn_casvit_xs_shapes',
}
# Layers whose outputs decide on classes, and a deviation of their weights that spreads the scores
# without bringing many to 1, where all are equal.
DECIDING = {
    'classification': ('head.fc', 0.5),
    'segmentation': ('decode_head.conv_seg', 0.5),
    'segformer': ('decode_head.conv_seg', 0.5),
    'upernet': ('decode_head.conv_seg', 0.5),
    'retinanet': ('bbox_head.retina_cls', 0.05),
    'maskrcnn': ('roi_head.bbox_head.fc_cls', 0.5),
}


def random_image(height, width, seed=0):
    """Smooth colours and noise, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return (image + rng.integers(-20, 20, image.shape)).clip(0, 255).astype(np.uint8)


def write_photos(folder: Path) -> Path:
    """Fill a folder with images whose sizes differ."""
    for number, size in enumerate([(90, 120), (130, 70), (64, 64)]):
        cv2.imwrite(str(folder / f'{number}.png'), random_image(*size, seed=number))
    return folder


def write_model(folder: Path, kind: str, classes: Sequence[str] = CLASSES) -> tuple[str, str]:
    """Write a config and a checkpoint of random weights whose predictions depend on the image."""
    cfg = Config.fromfile(ROOT / f'configs/{CONFIGS[kind]}.py')
    cfg.merge_from_dict(
        {'model.backbone': dict(arch=dict(_delete_=True, **TINY_ARCH), init_cfg=None)}
    )
    cfg.merge_from_dict(CHANGES[kind])
    for step in cfg.test_dataloader.dataset.pipeline:
        if step.type == 'Resize':
            step.scale = (96, 96) if kind in ('retinanet', 'maskrcnn') else (192, 96)
    set_num_classes(cfg, len(classes))
    config = str(folder / f'{kind}.py')
    cfg.dump(config)

    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    randomize_norms(model)
    name, deviation = DECIDING[kind]
    deciding = model.get_submodule(name)
    torch.nn.init.normal_(deciding.weight, std=deviation)
    torch.nn.init.zeros_(deciding.bias)
    checkpoint = str(folder / f'{kind}.pth')
    meta = dict(dataset_meta=dict(classes=list(classes)), cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
    return config, checkpoint


def export_onnx(kind: str, folder: Path, photos: Path, classes: Sequence[str] = CLASSES) -> Path:
    """Export a model of random weights to ONNX."""
    from casvit_mm.export import export

    config, checkpoint = write_model(folder, kind, classes)
    path = folder / 'model.onnx'
    export(config, checkpoint, format='onnx', out=str(path), images=str(photos))
    return path
