"""Raw outputs become the results of the mm packages."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import CLASSES
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from torch.nn import functional as F

from casvit_mm import InputError
from casvit_mm.deploy.images import Resized
from casvit_mm.deploy.outputs import read_outputs
from casvit_mm.deploy.spec import Spec

SPEC = Spec('detection', CLASSES, (), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), True)


def test_masks_are_pasted_as_mmdet_pastes_them():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-10, 80, (20, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clip(0, 70), boxes[:, 1::2].clip(0, 50)
    small = rng.uniform(0, 1, (20, 28, 28)).astype(np.float32)
    outputs = dict(
        boxes=boxes[None],
        scores=np.ones((1, 20), np.float32),
        labels=np.zeros((1, 20), np.int64),
        masks=small[None],
    )
    same_size = Resized(np.zeros((50, 70, 3), np.uint8), (50, 70), (50, 70))
    found = read_outputs(outputs, SPEC, same_size)
    for box, mask, full in zip(boxes, small, found.masks):
        expected, place = _do_paste_mask(
            torch.from_numpy(mask)[None, None], torch.from_numpy(box)[None], 50, 70
        )
        whole = np.zeros((1, 50, 70), bool)
        whole[(slice(None), *place)] = (expected >= 0.5).numpy()
        np.testing.assert_array_equal(full, whole[0])


@pytest.mark.parametrize('align_corners', [False, True])
def test_masks_are_enlarged_as_mmseg_enlarges_them(align_corners):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 20, 8, 12)).astype(np.float32)
    names = tuple(map(str, range(20)))
    spec = replace(SPEC, task='segmentation', classes=names, align_corners=align_corners)
    resized = Resized(np.zeros((32, 48, 3), np.uint8), (32, 48), (50, 77))
    found = read_outputs({'logits': logits}, spec, resized)
    enlarged = torch.from_numpy(logits)
    for size in ((32, 48), (50, 77)):
        enlarged = F.interpolate(enlarged, size, mode='bilinear', align_corners=align_corners)
    assert (found.labels == enlarged[0].argmax(0).numpy()).mean() > 0.999


@pytest.mark.parametrize('original', [(32, 48), (50, 77), (20, 30)])
def test_labels_found_class_by_class_are_those_of_all_classes_at_once(original):
    logits = np.random.default_rng(0).normal(size=(300, 8, 12)).astype(np.float32).round(1)
    logits[5:8, :3] = np.nan  # is never the best
    names = tuple(map(str, range(300)))
    spec = replace(SPEC, task='segmentation', classes=names)
    resized = Resized(np.zeros((32, 48, 3), np.uint8), (30, 45), original)
    enlarged = [cv2.resize(values, (48, 32))[:30, :45] for values in logits]
    enlarged = [cv2.resize(values, original[::-1]) for values in enlarged]
    found = read_outputs({'logits': logits[None]}, spec, resized).labels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.nan_to_num(enlarged, nan=-np.inf).argmax(0))


def test_a_single_output_is_a_class_above_its_threshold():
    spec = replace(SPEC, task='segmentation', classes=('ground', 'crack'), label_thr=0.3)
    logits = np.array([[[[-2.0, -0.5], [0.0, 3.0]]]], np.float32)
    resized = Resized(np.zeros((2, 2, 3), np.uint8), (2, 2), (2, 2))
    labels = read_outputs({'logits': logits}, spec, resized).labels
    np.testing.assert_array_equal(labels, [[0, 1], [1, 1]])


FOUND = dict(
    boxes=np.zeros((1, 2, 4), np.float32),
    scores=np.ones((1, 2), np.float32),
    labels=np.zeros((1, 2), np.int64),
)


@pytest.mark.parametrize(
    ('task', 'outputs', 'message'),
    [
        ('detection', dict(scores=FOUND['scores']), "has no output 'boxes'"),
        ('detection', dict(FOUND, boxes=FOUND['boxes'][0]), "has no output 'boxes'"),
        ('detection', dict(FOUND, boxes=FOUND['boxes'][:, :1]), 'differ in length'),
        ('detection', dict(FOUND, boxes=FOUND['boxes'][..., :3]), 'differ in length'),
        ('detection', dict(FOUND, masks=np.zeros((1, 9, 4, 4))), 'differ in length'),
        ('detection', dict(FOUND, labels=FOUND['labels'] + 3), 'names 3 classes, .* tells 4'),
        ('detection', dict(FOUND, boxes=FOUND['boxes'] * np.nan), 'boxes that are no numbers'),
        ('classification', dict(scores=np.zeros((1, 4))), 'names 3 classes, .* tells 4'),
        ('classification', dict(logits=np.zeros((1, 3))), "has no output 'scores'"),
        ('segmentation', dict(logits=np.zeros((1, 2, 4, 4))), 'names 3 classes, .* tells 2'),
    ],
)
def test_outputs_of_another_network_are_refused(task, outputs, message):
    resized = Resized(np.zeros((8, 8, 3), np.uint8), (8, 8), (8, 8))
    with pytest.raises(InputError, match=message):
        read_outputs(outputs, replace(SPEC, task=task), resized)
