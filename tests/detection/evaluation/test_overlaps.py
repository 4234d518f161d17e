"""Intersection over union of boxes and masks."""

import numpy as np
from pycocotools import mask as mask_utils

from casvit_mm.detection.evaluation.overlaps import coco_iou

BOXES = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [50, 50, 2, 3]], float)


def test_boxes_overlap_by_their_common_area():
    third = 50 / 150
    np.testing.assert_allclose(
        coco_iou(BOXES, BOXES), [[1, third, 0], [third, 1, 0], [0, 0, 1]], rtol=1e-15
    )


def test_inside_a_crowd_the_share_of_the_object_counts():
    assert coco_iou(BOXES[:1], BOXES[1:2], [True]) == [[0.5]]


def test_masks_overlap_by_their_common_pixels():
    masks = np.zeros((4, 6, 2), np.uint8, order='F')
    masks[:2, :, 0] = 1  # 12 pixels
    masks[1:3, :3, 1] = 1  # 6 pixels, 3 of them common
    rles = mask_utils.encode(masks)
    np.testing.assert_allclose(coco_iou(rles[:1], rles[1:]), [[3 / 15]])


def test_without_boxes_there_are_no_overlaps():
    assert coco_iou(np.zeros((0, 4)), BOXES).shape == (0, 3)
    assert coco_iou(BOXES, np.zeros((0, 4))).shape == (3, 0)
