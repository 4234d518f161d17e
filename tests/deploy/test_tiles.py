"""Which tiles an image is cut into."""

import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy.label_maps import join_logits
from casvit_mm.deploy.tiles import Tiles, read_tiles


@pytest.mark.parametrize('size', [(64, 65), (100, 300), (640, 641), (1000, 64), (30, 200)])
@pytest.mark.parametrize('overlap', [0, 0.2, 0.5, 0.9])
def test_tiles_cover_the_image_with_the_overlap(size, overlap):
    places = list(Tiles(64, overlap).places(*size))
    covered = np.zeros(size, int)
    for top, left, height, width in places:
        assert (height, width) == (min(64, size[0]), 64)
        assert top + height <= size[0]
        assert left + width <= size[1]
        covered[top : top + height, left : left + width] += 1
    assert covered.min() == 1
    starts = sorted({place.left for place in places})
    assert all(np.diff(starts) <= 64 - round(64 * overlap))


def test_places_are_those_of_mmsegs_windows():
    height, width, crop, stride = 333, 555, 128, 85
    grids = [max(side - crop + stride - 1, 0) // stride + 1 for side in (height, width)]
    expected = [
        (min(h * stride, height - crop), min(w * stride, width - crop))
        for h in range(grids[0])
        for w in range(grids[1])
    ]
    places = Tiles(crop, 1 - stride / crop).places(height, width)
    assert [place[:2] for place in places] == expected


@pytest.mark.parametrize(
    ('tile', 'overlap', 'message'),
    [
        (32, None, '--tile 32: the side must be .* from 64'),
        (-640, None, '--tile -640'),
        (640, 1, '--overlap 1: it is a share .* from 0 to below 1'),
        (640, -0.1, '--overlap -0.1'),
        (640, float('nan'), '--overlap nan'),
        (None, 0.2, '--overlap is about tiles; give their side: --tile 640'),
    ],
)
def test_sizes_that_are_none_are_refused(tile, overlap, message):
    with pytest.raises(InputError, match=message):
        read_tiles(tile, overlap)


def test_without_a_size_there_are_no_tiles():
    assert read_tiles(None, None) is None
    assert read_tiles(640, None) == Tiles(640, 0.2)


@pytest.mark.parametrize('overlap', [0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize('size', [(150, 210), (40, 200), (200, 64), (65, 65)])
@pytest.mark.parametrize('classes', [1, 5])
def test_labels_are_those_of_the_mean_of_all_logits(size, overlap, classes):
    tiles, rng = Tiles(64, overlap), np.random.default_rng(0)
    places = list(tiles.places(*size))
    logits = [rng.normal(size=(classes, p.height, p.width)).astype(np.float32) for p in places]
    sums, counts = np.zeros((classes, *size)), np.zeros(size)
    for maps, (top, left, height, width) in zip(logits, places, strict=True):
        sums[:, top : top + height, left : left + width] += maps
        counts[top : top + height, left : left + width] += 1
    mean = sums / counts
    if classes == 1:
        expected = 1 / (1 + np.exp(-mean[0])) > 0.3
        found = join_logits(iter(logits), tiles, size, 2, label_thr=0.3)
    else:
        expected = mean.argmax(0)
        found = join_logits(iter(logits), tiles, size, classes)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
