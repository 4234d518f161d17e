"""A backbone in TorchScript."""

import pytest
import torch
from helpers import randomize_norms, slow_after
from torch import nn

from casvit_mm import ARCHS, TOKEN_MIXERS, CASViT, fuse


def backbone(arch, **options) -> CASViT:
    torch.manual_seed(0)
    model = CASViT(arch, **options)
    randomize_norms(model)
    return model.eval()


def assert_scripts(model: nn.Module) -> None:
    x = torch.rand(2, 3, 64, 96)
    scripted = torch.jit.script(model)
    assert set(scripted.state_dict()) == set(model.state_dict())
    with torch.no_grad():
        found, expected = scripted(x), model(x)
    assert isinstance(found, tuple)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('arch', slow_after(2, ARCHS))
def test_every_arch_gives_the_same_maps(arch):
    assert_scripts(backbone(arch))


@pytest.mark.parametrize('mixer', TOKEN_MIXERS.module_dict)
def test_every_mixer_gives_the_same_maps(tiny_arch, mixer):
    assert_scripts(backbone(tiny_arch, token_mixer=dict(type=mixer)))


@pytest.mark.parametrize('out_indices', [(3,), (2, 0)])
def test_outputs_keep_their_order(tiny_arch, out_indices):
    assert_scripts(backbone(tiny_arch, out_indices=out_indices))


@pytest.mark.parametrize('local_integration', ['none', 'depthwise'])
def test_every_integration_gives_the_same_maps(tiny_arch, local_integration):
    assert_scripts(backbone(tiny_arch, local_integration=local_integration))


def test_an_inference_form_gives_the_same_maps(tiny_arch):
    assert_scripts(fuse(backbone(tiny_arch)))


def test_gradient_checkpointing_is_left_out(tiny_arch):
    model = backbone(tiny_arch, with_cp=True).train()
    scripted = torch.jit.script(model)
    assert model.with_cp
    sum(out.square().sum() for out in scripted(torch.rand(2, 3, 64, 64))).backward()
    assert [name for name, p in scripted.named_parameters() if p.grad is None] == []
