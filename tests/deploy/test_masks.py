"""Masks as crops are the same masks."""

import numpy as np
import pytest

from casvit_mm.deploy.masks import CroppedMasks, crop_of, encode_crop, join_crops
from casvit_mm.deploy.rle import encode_mask


@pytest.fixture
def masks():
    """Bool (N, 30, 40): scattered, empty, full, a column from top to bottom, the last pixel."""
    rng = np.random.default_rng(0)
    masks = np.zeros((5, 30, 40), bool)
    masks[0, 5:20, 8:30] = rng.random((15, 22)) > 0.5
    masks[2] = True
    masks[3] = np.arange(40) % 9 < 2
    masks[4, -1, -1] = True
    return masks


@pytest.fixture
def cropped(masks):
    return CroppedMasks([crop_of(masks, i) for i in range(len(masks))], masks.shape[1:])


def test_crops_hold_the_masks(masks, cropped):
    assert cropped.shape == masks.shape
    np.testing.assert_array_equal(np.asarray(cropped), masks)
    np.testing.assert_array_equal(cropped[0], masks[0])
    assert cropped.crops[0].pixels.size < masks[0].size / 3
    kept = np.array([True, False, False, True, False])
    np.testing.assert_array_equal(np.asarray(cropped[kept]), masks[kept])


def test_crops_are_encoded_as_whole_masks_are(masks, cropped):
    pytest.importorskip('pycocotools')
    for mask, crop in zip(masks, cropped.crops, strict=True):
        assert encode_crop(crop, mask.shape) == encode_mask(mask)


def test_joined_crops_hold_the_pixels_of_all(masks, cropped):
    joined = CroppedMasks([join_crops(cropped.crops[i] for i in (0, 1, 4))], cropped.size)
    np.testing.assert_array_equal(joined[0], masks[[0, 1, 4]].any(0))


def test_a_smaller_picture_keeps_every_object(masks, cropped):
    small = cropped.resized((10, 20))
    assert small[2].all()
    assert not small[1].any()
    assert small[4][-1, -1]
    assert small.crops[0].pixels.shape == (5, 11)
