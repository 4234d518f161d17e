"""Boxes given as corners are seen; boxes that only look a little like them are not."""

import numpy as np
import pytest

from casvit_mm.datasets.formats.corners import boxes_from_corners, count_corners


def content_of(boxes, area=None, polygons=False, side=96):
    """COCO content with one image; ``area`` of a box (x, y, width, height)."""
    annotations = []
    for x, y, w, h in boxes:
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        entry = dict(image_id=1, bbox=[x, y, w, h], area=area(x, y, w, h) if area else w * h)
        annotations.append({**entry, 'segmentation': [polygon]} if polygons else entry)
    return dict(images=[dict(id=1, width=side, height=side)], annotations=annotations)


def as_corners(content):
    for entry in content['annotations']:
        x, y, w, h = entry['bbox']
        entry['bbox'] = [x, y, x + w, y + h]
    return content


def some_boxes(number=40, side=96):
    rng = np.random.default_rng(1)
    start = rng.integers(0, side - 24, (number, 2))
    return np.hstack([start, rng.integers(8, 24, (number, 2))]).tolist()


@pytest.mark.parametrize('number', [1, 2, 8, 40])
@pytest.mark.parametrize('polygons', [False, True])
def test_corners_are_seen_by_area_or_mask_and_turned_back(number, polygons):
    boxes = some_boxes(number)
    content = as_corners(content_of(boxes, polygons=polygons))
    assert count_corners(content) == (number, number)
    boxes_from_corners(content)
    assert [entry['bbox'] for entry in content['annotations']] == boxes
    assert count_corners(content) is None


def test_corners_are_seen_where_areas_were_computed_from_them():
    content = as_corners(content_of(some_boxes()))
    for entry in content['annotations']:
        entry['area'] = entry['bbox'][2] * entry['bbox'][3]
    told, number = count_corners(content)
    assert told > number / 2


@pytest.mark.parametrize(
    'boxes',
    [
        some_boxes(),
        [[0, 0, 96, 96]] * 9,
        [[2, 3, 95, 94]] * 9,  # drawn a little beyond the edge
        [[10, 10, 90, 90]],  # far beyond it, but one alone and its area says so
        [[5, 5, 20, 30], [3, 9, 40, 50]],
        [],
    ],
)
@pytest.mark.parametrize('polygons', [False, True])
def test_boxes_of_width_and_height_are_not_taken_for_corners(boxes, polygons):
    assert count_corners(content_of(boxes, polygons=polygons)) is None
