"""Values that COCO format can have and that nothing can be made of."""

import pytest

from casvit_mm.datasets.formats.coco_values import is_polygon, is_size


@pytest.mark.parametrize(
    ('size', 'sound'),
    [
        ((16_384, 16_384), True),
        ((16_385, 16_384), False),
        ((10**9, 1), False),
        ((1.0, 2), False),
        ((0, 2), False),
        ((True, 2), False),
    ],
)
def test_an_image_has_no_more_pixels_than_are_read(size, sound):
    assert is_size(*size) is sound
    assert is_size(*size[::-1]) is sound


@pytest.mark.parametrize(
    ('polygon', 'sound'),
    [
        ([0, 0, 4, 0, 4, 4], True),
        ([0, 0, 10**8, 0, 10**8, 4], False),
        ([0, 0, 16_000, 16_000] * 10_000, False),  # back and forth
        ([16_000 + x for x in range(100_000)], True),  # each step is short
        ([0, 0, 4, 0, 4], False),
        ([0, 0, 4, 0, 4, float('nan')], False),
    ],
)
def test_a_polygon_can_be_drawn(polygon, sound):
    # pycocotools takes memory for each pixel of the outline, 20 GB for the second one.
    assert is_polygon(polygon) is sound
