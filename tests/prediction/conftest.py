"""A tiny detector with arbitrary boxes."""

import numpy as np
import pytest
import torch
from helpers import ROOT, TINY_ARCH, randomize_norms
from PIL import Image

pytest.importorskip('mmdet')
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prediction_runs import spread_scores

from casvit_mm.config.class_counts import set_num_classes
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.prediction.checkpoints import CheckpointModel


@pytest.fixture(scope='module')
def model(tmp_path_factory, pixels):
    """A config and an untrained checkpoint: arbitrary boxes, with class names of a user's data."""
    folder = tmp_path_factory.mktemp('model')
    config = folder / 'tiny.py'
    config.write_text(
        f"""_base_ = {str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'])}),
)
"""
    )
    cfg = Config.fromfile(config)
    set_num_classes(cfg, len(CLASSES))
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    randomize_norms(detector)
    meta = dict(dataset_meta=dict(classes=list(CLASSES)))
    path = str(folder / 'tiny.pth')
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), path)
    spread_scores(CheckpointModel(path, config, device='cpu'), pixels, detector)
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), path)
    return str(config), path


@pytest.fixture(scope='module')
def predictor(model):
    return CheckpointModel(*reversed(model), score_thr=0.05, device='cpu')


@pytest.fixture(scope='module')
def pixels(shapes):
    """RGB pixels (H, W, 3) of one generated image, cut so that it is not square."""
    return np.asarray(Image.open(shapes.parent / 'test/0001.png'))[:48]
