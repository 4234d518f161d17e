"""Run lengths as COCO writes them, without pycocotools."""

import cv2
import numpy as np
import pytest

from casvit_mm.deploy.rle import encode_mask

coco_mask = pytest.importorskip('pycocotools.mask')


@pytest.mark.parametrize('share', [0, 1, 0.5, 0.02])
def test_they_equal_those_of_pycocotools(share):
    rng = np.random.default_rng(0)
    for _ in range(60):
        mask = rng.random(rng.integers(1, 50, 2)) < share
        expected = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        assert encode_mask(mask) == dict(
            size=list(expected['size']), counts=expected['counts'].decode()
        )


def test_a_large_mask_is_read_back():
    mask = np.zeros((700, 900), np.uint8)
    cv2.circle(mask, (450, 600), 300, 1, -1)  # over the lower border
    assert (coco_mask.decode(encode_mask(mask.astype(bool))) == mask).all()
