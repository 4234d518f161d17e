import numpy as np
import pytest

pytest.importorskip('mmdet')
from pycocotools import mask as coco_mask

from casvit_mm.datasets.formats.rle import rle_counts


@pytest.mark.parametrize('seed', range(5))
def test_run_lengths_are_those_that_pycocotools_decodes(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((300, 500), np.uint8, order='F')
    mask[rng.integers(0, 200) :, rng.integers(0, 200) : 400] = rng.random() < 0.8
    mask[:40] = rng.random((40, 500)) < 0.3
    counts = rle_counts(coco_mask.encode(mask)['counts'].decode())
    rebuilt = np.repeat(np.arange(len(counts)) % 2, counts).reshape(500, 300).T
    assert np.array_equal(rebuilt, mask)
