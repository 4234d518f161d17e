"""Truth and detections of an image, side by side."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from PIL import Image

from casvit_mm.detection.evaluation.hooks import DetectionPicturesHook

CLASSES = ('cat', 'dog')


def draw(tmp_path, truth=True, masks=False, scores=(0.9, 0.2)):
    path = tmp_path / 'a.png'
    Image.new('RGB', (640, 400), 'grey').save(path)
    boxes = torch.tensor([[40.0, 60, 200, 300], [300, 60, 500, 300]])
    sample = DetDataSample(metainfo=dict(img_path=str(path)))
    sample.pred_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([0, 1]), scores=torch.tensor(scores)
    )
    if masks:
        sample.pred_instances.masks = torch.zeros(2, 400, 640, dtype=torch.bool)
        sample.pred_instances.masks[0, 100:200, 60:120] = True
    if truth:
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]))
        if masks:
            found = sample.pred_instances.masks.numpy().astype(np.uint8)
            sample.gt_instances.masks = BitmapMasks(found, 400, 640)
    return DetectionPicturesHook(str(tmp_path)).draw(sample, dict(classes=CLASSES), 'a.png')


def halves(picture):
    return picture[:400, :640], picture[:400, -640:]


def test_truth_stands_left_of_what_scores_enough(tmp_path):
    left, right = halves(draw(tmp_path))
    assert (left[60:300, 300] != 128).any()  # both objects
    assert (right[60:300, 300] == 128).all()  # the dog scores 0.2
    np.testing.assert_array_equal(left[250:290, 30:210], right[250:290, 30:210])


def test_an_image_without_labels_has_predictions_alone(tmp_path):
    assert draw(tmp_path, truth=False).shape[1] == 640


def test_labels_stand_beside_what_they_name(tmp_path):
    for half in halves(draw(tmp_path)):
        assert (half[66:295, 46:195] == 128).all()  # within the box of the cat
        assert (half[30:58, 42:90] != 128).any()  # above it


def test_masks_of_truth_and_prediction_are_painted_alike(tmp_path):
    left, right = halves(draw(tmp_path, masks=True, scores=(0.9, 0.8)))
    assert (left[120:180, 70:110] != 128).any()
    np.testing.assert_array_equal(left[100:200, 60:120], right[100:200, 60:120])
