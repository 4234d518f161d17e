"""What tools draw becomes boxes, polygons and masks, held to pycocotools; masks become outlines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from casvit_mm.datasets.formats.contours import join_outlines, trace_mask
from casvit_mm.datasets.formats.outlines import (
    box_fields,
    decode_segmentation,
    ellipse_outline,
    mask_fields,
    merge_fields,
    polygon_fields,
    rotated_outline,
)

coco = pytest.importorskip('pycocotools.mask')
MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 15)))


@given(MASKS)
@settings(deadline=None, max_examples=100)
def test_a_mask_has_the_box_and_area_of_pycocotools(mask):
    if mask.any():
        fields = mask_fields(mask)
        encoded = coco.encode(np.asfortranarray(mask, np.uint8))
        assert fields['bbox'] == coco.toBbox(encoded).tolist()
        assert fields['area'] == coco.area(encoded)
        assert (decode_segmentation(fields['segmentation'], *mask.shape[::-1]) == mask).all()


@given(st.lists(st.tuples(st.integers(2, 78), st.integers(2, 38)), min_size=3, max_size=3))
@settings(deadline=None, max_examples=50)
def test_a_polygon_is_near_what_pycocotools_rasterises(points):
    outline = [float(value) for point in points for value in point]
    try:
        fields = polygon_fields([outline], 80, 40)
    except ValueError:
        return
    encoded = coco.merge(coco.frPyObjects([outline], 40, 80))
    if fields['area'] > 50 and min(fields['bbox'][2:]) > 5:
        rim = sum(fields['bbox'][2:]) * 2
        assert abs(fields['area'] - coco.area(encoded)) <= rim / 2
        x, y, w, h = coco.toBbox(encoded)  # which a sharp corner does not reach
        left, top, width, height = fields['bbox']
        assert min(x - left, y - top) >= -1
        assert max(x + w - left - width, y + h - top - height) <= 1


def test_the_area_of_polygons_that_overlap_counts_once():
    one = box_outline(0, 0, 10, 10)
    fields = polygon_fields([one, one], 80, 40)
    assert (fields['area'], polygon_fields([one], 80, 40)['area']) == (100, 100)


def box_outline(x1, y1, x2, y2):
    return [float(value) for value in (x1, y1, x2, y1, x2, y2, x1, y2)]


def test_boxes_of_one_object_become_one_box():
    both = merge_fields([box_fields(0, 0, 4, 4), box_fields(10, 2, 12, 9)], 80, 40)
    assert both == dict(bbox=[0, 0, 12, 9], area=108)


@pytest.mark.parametrize(
    ('degrees', 'pivot', 'wanted'),
    [
        (90, None, [25, 0, 25, 20, 15, 20, 15, 0]),
        (90, (10, 5), [10, 5, 10, 25, 0, 25, 0, 5]),
        (180, (10, 5), [10, 5, -10, 5, -10, -5, 10, -5]),
    ],
)
def test_a_box_turns_clockwise_on_the_screen(degrees, pivot, wanted):
    turned = rotated_outline((10, 5, 20, 10), degrees, pivot)
    np.testing.assert_allclose(turned, wanted, atol=1e-12)


def test_an_ellipse_is_within_a_tenth_of_a_pixel():
    points = np.reshape(ellipse_outline((100, 80), (60, 60)), (-1, 2))
    middles = (points + np.roll(points, 1, 0)) / 2
    assert (60 - np.hypot(*(middles - (100, 80)).T)).max() < 0.11


@given(MASKS)
@settings(deadline=None, max_examples=150)
def test_the_outlines_of_a_mask_lose_no_pixel(mask):
    height, width = mask.shape
    outlines = trace_mask(mask)
    if not outlines:
        assert not mask.any()
        return
    joined = join_outlines(outlines, holes=True)
    x, y = np.reshape(joined, (-1, 2)).T
    assert abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 == mask.sum()
    np.testing.assert_array_equal(decode_segmentation([joined], width, height), mask)


def test_outlines_have_corners_alone_and_holes_run_the_other_way():
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False
    outer, hole = trace_mask(mask)
    assert outer == [0, 0, 6, 0, 6, 5, 0, 5]
    assert hole == [4, 2, 2, 2, 2, 3, 4, 3] or sorted(hole) == sorted([2, 2, 2, 3, 4, 3, 4, 2])
