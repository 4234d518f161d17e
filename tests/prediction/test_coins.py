"""The example that makes a data set of one photograph."""

import runpy

import numpy as np
import pytest
from helpers import ROOT

pytest.importorskip('skimage')


def test_all_coins_are_found_and_none_is_in_both_halves():
    from skimage import data

    example = runpy.run_path(str(ROOT / 'examples/coins/make_data.py'))
    coins = example['find_coins'](data.coins())
    middle = example['MIDDLE']
    upper, lower = (set(np.unique(half)) - {0} for half in (coins[:middle], coins[middle:]))
    assert (len(upper), len(lower), upper & lower) == (12, 12, set())
    picture, outlines = example['cut'](data.coins(), coins, np.random.default_rng(0))
    assert picture.shape == (128, 128)
    assert outlines
    assert all(0 <= value <= 127 for outline in outlines for value in outline)
