"""Weights that are no numbers are refused wherever a file of them is used."""

import pytest
import torch
from torch import nn

from casvit_mm import CASViT, load_weights
from casvit_mm.errors import DivergedError
from casvit_mm.weights.matching import check_fit
from casvit_mm.zoo.convert import convert
from casvit_mm.zoo.publish import publish


@pytest.fixture(params=['nan', 'inf', '1e30'])
def diverged(request, tiny_arch, tmp_path):
    """A file in which one tensor holds one value that is no number."""
    state = CASViT(tiny_arch).state_dict()
    state['stem.0.weight'][0, 0, 0, 0] = float(request.param)
    torch.save(dict(state_dict=state), tmp_path / 'diverged.pth')
    return tmp_path / 'diverged.pth'


@pytest.mark.parametrize(
    'use',
    [
        lambda path, arch: load_weights(CASViT(arch), path),
        lambda path, arch: publish(path),
        lambda path, arch: convert(path, path.with_name('converted.pth')),
    ],
    ids=['loaded', 'published', 'converted'],
)
def test_they_are_refused_by_name(diverged, tiny_arch, use):
    with pytest.raises(DivergedError, match=r"diverged.pth' holds NaN.* 1 of \d+ .*stem.0.weight"):
        use(diverged, tiny_arch)
    assert [path.name for path in diverged.parent.iterdir()] == ['diverged.pth']


def test_what_the_model_itself_holds_may_be_infinite(tiny_arch):
    model = nn.Module()
    model.backbone = CASViT(tiny_arch)
    model.register_buffer('mask', torch.tensor([0.0, float('-inf')]))
    check_fit(model, model.state_dict(), 'masked.pth')
