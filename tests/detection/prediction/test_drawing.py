"""Pictures of detections."""

import numpy as np
import pytest

pytest.importorskip('mmdet')
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.detection.prediction.drawing import draw_detections


def objects_at(*boxes):
    return [{'class': name, 'score': 0.9, 'bbox': list(box)} for name, box in zip(CLASSES, boxes)]


def test_small_images_are_enlarged_and_frames_of_one_size_stay_so():
    image = np.zeros((48, 64, 3), np.uint8)
    empty = draw_detections(image, [], CLASSES)
    full = draw_detections(image, objects_at((0, 0, 9, 9), (30, 30, 5, 5)), CLASSES)
    assert empty.shape == full.shape
    assert empty.shape[1] == 640
    assert image.max() == 0


def test_labels_do_not_hide_small_neighbours():
    image = np.zeros((600, 800, 3), np.uint8)
    target = objects_at((400, 300, 12, 12))
    crowd = [
        {**target[0], 'bbox': [370 + 20 * i, 278 + 13 * j, 10, 10]}
        for i in range(5)
        for j in range(5)
    ]
    drawn = draw_detections(image, crowd, CLASSES)
    # Filled labels would paint the inside of the boxes; only their lines may.
    for found in crowd[6:9]:
        x, y, w, h = map(int, found['bbox'])
        assert drawn[y + 3 : y + h - 3, x + 3 : x + w - 3].max() == 0


def test_every_class_has_a_colour_of_its_own():
    names = [str(i) for i in range(80)]
    corners = [(80 * (i % 10) + 5, 80 * (i // 10) + 25) for i in range(80)]
    objects = [
        {'class': name, 'score': 1.0, 'bbox': [x, y, 50, 40]}
        for name, (x, y) in zip(names, corners)
    ]
    drawn = draw_detections(np.zeros((680, 800, 3), np.uint8), objects, names)
    assert len({tuple(drawn[y + 20, x]) for x, y in corners} - {(0, 0, 0)}) == 80
