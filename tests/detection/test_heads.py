"""The head of RTMDet-Ins gives mmdet's masks, whatever their size."""

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope

pytest.importorskip('mmdet')
from mmdet.models.dense_heads import RTMDetInsSepBNHead
from mmdet.registry import MODELS

from casvit_mm.detection import heads


def build(**changes):
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/rtmdet_ins_casvit_xs_coco.py').model
    cfg.bbox_head.update(num_classes=3, in_channels=16, feat_channels=16, test_cfg=cfg.test_cfg)
    cfg.bbox_head.update(changes)
    torch.manual_seed(0)
    head = MODELS.build(cfg.bbox_head).eval()
    for name, parameter in head.named_parameters():
        if name.startswith(('rtm_cls', 'rtm_reg', 'rtm_kernel')) and name.endswith('weight'):
            torch.nn.init.normal_(parameter, std=0.7)
    return head


def predict(head, rescale, threshold=0.05, height=120):
    torch.manual_seed(1)
    levels = tuple(torch.randn(1, 16, 64 // stride, 96 // stride) for stride in (8, 16, 32))
    head.test_cfg.score_thr = threshold
    # The image takes 60 x 90 of a batch of 64 x 96, and was 120 x 180.
    meta = dict(
        img_shape=(60, 90),
        ori_shape=(height, 180),
        batch_input_shape=(64, 96),
        scale_factor=(90 / 180, 60 / height),
    )
    with torch.no_grad():
        outputs = head(levels)
        return head.predict_by_feat(*outputs, batch_img_metas=[meta], rescale=rescale)[0]


@pytest.mark.parametrize('rescale', [True, False])
@pytest.mark.parametrize('block', [1, 100_000, 2**24])
def test_masks_are_those_of_mmdets_head(monkeypatch, rescale, block):
    monkeypatch.setattr(heads, '_BLOCK', block)
    ours, theirs = (
        predict(build(type=kind), rescale)
        for kind in ('BlockwiseRTMDetInsHead', RTMDetInsSepBNHead)
    )
    assert len(ours) > 10
    assert 0.05 < ours.masks.float().mean() < 0.95
    assert ours.masks.shape[1:] == ((120, 180) if rescale else (64, 96))
    for field in ('bboxes', 'scores', 'labels', 'masks'):
        assert torch.equal(ours[field], theirs[field])


def test_an_image_without_an_object_has_no_masks():
    assert predict(build(), True, threshold=1.0).masks.shape == (0, 120, 180)


def test_a_few_masks_at_a_time_are_enlarged(monkeypatch):
    monkeypatch.setattr(heads, '_BLOCK', 100_000)
    seen = []

    def enlarge(block, **arguments):
        seen.append(block.shape[1])
        return torch.nn.functional.interpolate(block, **arguments)

    monkeypatch.setattr(heads, 'interpolate', enlarge)
    found = predict(build(), True)
    assert max(seen) == 100_000 // (128 * 192) < len(found)


def test_height_and_width_have_each_their_own_scale(monkeypatch):
    """mmdet 3.3 takes the factor of the width for both."""
    sizes = []

    def enlarge(block, **arguments):
        sizes.append(arguments.get('size'))
        return torch.nn.functional.interpolate(block, **arguments)

    monkeypatch.setattr(heads, 'interpolate', enlarge)
    assert predict(build(), True, height=123).masks.shape[1:] == (123, 180)
    assert [132, 192] in sizes  # 64 / 60 of 123, 96 / 90 of 180
