"""Pooling to a grid as products with matrices."""

import copy

import pytest
import torch
from torch import nn

from casvit_mm.export.pooling import fix_pooling


@pytest.mark.parametrize('size', [(8, 7), (12, 12), (3, 5), (1, 9)])
@pytest.mark.parametrize('grid', [2, 3, (6, 4), (None, 2), (3, None)])
def test_it_computes_the_same_to_rounding(size, grid):
    pools = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(grid))
    x = torch.randn(2, 4, *size)
    fixed = copy.deepcopy(pools)
    fix_pooling(fixed, x[:1])
    assert not any(isinstance(each, nn.AdaptiveAvgPool2d) for each in fixed.modules())
    torch.testing.assert_close(fixed(x), pools(x), atol=1e-6, rtol=0)


def test_a_mean_over_all_positions_stays_and_other_modules_too():
    class Own(nn.AdaptiveAvgPool2d):
        pass

    model = nn.Sequential(Own(2), nn.AdaptiveAvgPool2d(1))
    fix_pooling(model, torch.zeros(1, 1, 4, 4))
    assert [type(each) for each in model] == [Own, nn.AdaptiveAvgPool2d]
    assert not model[0]._forward_pre_hooks


@pytest.mark.parametrize(('size', 'stays'), [((8, 8), False), ((5, 7), True)])
def test_a_pool_in_two_places_stays_where_it_reads_maps_of_two_sizes(size, stays):
    pool = nn.AdaptiveAvgPool2d(3)
    model = nn.Sequential(nn.Sequential(pool), nn.Upsample(size=size), pool)
    x = torch.randn(1, 1, 8, 8)
    expected = model(x)
    fix_pooling(model, x)
    assert (model[0][0] is pool) == (model[2] is pool) == stays
    torch.testing.assert_close(model(x), expected, atol=1e-6, rtol=0)
