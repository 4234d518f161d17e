import numpy as np
import pytest

pytest.importorskip('mmdet')
import torch
from detection_data import MASK, RETINA, load_config
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config, DictAction

from casvit_mm.detection.data.anchors import (
    best_overlaps,
    propose_anchors,
    read_anchors,
)
from casvit_mm.detection.data.fit import describe_anchors
from casvit_mm.detection.data.objects import read_objects


def test_overlaps_with_anchors_are_those_on_mmdets_grid():
    cfg = load_config(RETINA)
    anchors = read_anchors(cfg)
    generator = AnchorGenerator(**anchors.settings)
    cells = [(512 // stride, 512 // stride) for stride in (8, 16, 32, 64, 128)]
    grid = generator.grid_priors(cells, device='cpu')
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(100, 200, (40, 2)), rng.uniform(12, 300, (40, 2))], axis=1)
    corners = torch.from_numpy(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    expected = bbox_overlaps(corners, torch.cat(grid).double()).max(dim=1).values
    np.testing.assert_allclose(best_overlaps(boxes, anchors), expected, rtol=1e-5)


@pytest.mark.parametrize(
    'settings',
    [
        dict(strides=[4, 8], ratios=[0.5, 1.0, 3.0], scales=[8, 10]),
        dict(strides=[(8, 16), (16, 32)], ratios=[2.0], scales=[4, 5], scale_major=False),
        dict(strides=[8, 16], ratios=[1, 2], octave_base_scale=4, scales_per_octave=3),
        dict(strides=[8, 16], ratios=[1, 2], scales=[1], base_sizes=[30, 70], center_offset=0.5),
    ],
)
def test_anchors_are_those_of_mmdets_generator(settings):
    generator = dict(type='AnchorGenerator', **settings)
    cfg = Config(dict(model=dict(bbox_head=dict(anchor_generator=generator))))
    anchors = read_anchors(cfg)
    theirs = AnchorGenerator(**settings)
    sizes = [(level[:, 2:] - level[:, :2]).tolist() for level in theirs.base_anchors]
    expected = [
        (stride[0], *size)
        for stride, level in zip(theirs.strides, sizes, strict=True)
        for size in level
    ]
    ours = np.column_stack([anchors.strides, anchors.sizes])
    np.testing.assert_allclose(sorted(ours.tolist()), sorted(expected), rtol=1e-6)


@pytest.mark.parametrize('config', [MASK, RETINA])
def test_the_proposed_options_reach_the_recall_that_is_promised(config):
    cfg = load_config(config)
    rng = np.random.default_rng(0)
    sides = rng.uniform(9, 14, (400, 2)) * [1, 3]
    boxes = np.concatenate([rng.uniform(0, 500, (400, 2)), sides], axis=1)
    present, promised, _ = propose_anchors(boxes, read_anchors(cfg))
    assert promised > present + 0.2

    content = dict(
        images=[dict(id=1, file_name='a', width=1333, height=800)],
        categories=[dict(id=1, name='a')],
        annotations=[
            dict(id=i, image_id=1, category_id=1, bbox=box.tolist(), area=100.0)
            for i, box in enumerate(boxes)
        ],
    )
    fit = describe_anchors(cfg, read_objects(content))
    options = [option.split('=', 1) for option in fit['cfg_options']]
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in options})
    assert (best_overlaps(boxes, read_anchors(cfg)) >= 0.5).mean() == pytest.approx(promised)
    assert fit['anchor_recall_proposed'] == pytest.approx(promised)
