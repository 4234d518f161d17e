import numpy as np
import pytest

pytest.importorskip('mmdet')
from pycocotools import mask as coco_mask

from casvit_mm.datasets.formats.rle import find_rle_fault, rle_counts


@pytest.mark.parametrize('seed', range(5))
def test_run_lengths_are_those_that_pycocotools_decodes(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((300, 500), np.uint8, order='F')
    mask[rng.integers(0, 200) :, rng.integers(0, 200) : 400] = rng.random() < 0.8
    mask[:40] = rng.random((40, 500)) < 0.3
    counts = rle_counts(coco_mask.encode(mask)['counts'].decode())
    rebuilt = np.repeat(np.arange(len(counts)) % 2, counts).reshape(500, 300).T
    assert np.array_equal(rebuilt, mask)


LARGE = 10**9


@pytest.mark.parametrize(
    'rle',
    [
        dict(size=[LARGE, LARGE], counts=[LARGE**2]),
        dict(size=[LARGE, LARGE], counts=[2**39] * (LARGE**2 // 2**39)),
        dict(size=[20_000, 20_000], counts=[20_000**2]),
        dict(size=[4, 4], counts=[2**39] * 2**12 + [2**39 - 16, 32]),
        dict(size=[4, 4], counts='o' * 20 + '0'),
        dict(size=[4, 4], counts=[10**400]),
    ],
)
def test_sizes_and_runs_that_no_image_has_are_refused(rle):
    kind, message = find_rle_fault(rle, None)
    assert kind == 'RLE that does not decode'
    assert 'expected' in message
