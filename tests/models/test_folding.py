"""BatchNorm folded into a convolution beside it: the arithmetic."""

import pytest
import torch
from fused_models import assert_equal, shaken
from torch import nn

from casvit_mm.models.folding import conv_then_norm, norm_then_linear


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def norm_of(channels: int) -> nn.BatchNorm2d:
    return shaken(nn.BatchNorm2d(channels)).double()


@pytest.mark.parametrize('options', [dict(groups=2), dict(stride=2, bias=False), dict(dilation=2)])
def test_a_convolution_and_the_norm_after_it_become_one(options):
    conv, norm = nn.Conv2d(4, 6, 3, padding=2, **options).double().eval(), norm_of(6)
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    assert_equal([conv_then_norm(conv, norm)(x)], [norm(conv(x))])


@pytest.mark.parametrize('options', [dict(), dict(stride=2, bias=False)])
def test_a_norm_and_the_1x1_convolution_after_it_become_one(options):
    conv, norm = nn.Conv2d(4, 6, 1, **options).double().eval(), norm_of(4)
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    assert_equal([norm_then_linear(norm, conv)(x)], [conv(norm(x))])
