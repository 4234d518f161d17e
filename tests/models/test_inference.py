"""The inference form of a backbone: the same maps without the norms."""

import copy

import pytest
import torch
from fused_models import WIDTHS, assert_equal, backbone, images, norms
from torch import nn

from casvit_mm import InputError, fuse
from casvit_mm.models.folding import norm_then_linear
from casvit_mm.models.inference import fold_block_norms


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize('size', [(64, 96), (37, 51)])
def test_a_fused_backbone_gives_the_same_maps(size):
    model = backbone(drop_path_rate=0.1, frozen_stages=1, norm_eval=True)
    assert_equal(fuse(model)(images(*size)), model(images(*size)))


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (3,), (2, 0)])
def test_a_bare_backbone_keeps_its_output_norms_and_no_other(out_indices):
    fused = fuse(backbone(out_indices=out_indices))
    assert sorted(norms(fused)) == sorted(f'norm{i}' for i in out_indices)


def test_fusing_in_float32_changes_nothing_above_rounding():
    model = backbone(torch.float32)
    x = images(dtype=torch.float32)
    assert_equal(fuse(model)(x), model(x), 1e-5)


def test_the_gates_of_a_fused_backbone_need_no_convolution_of_their_own():
    def gate_convolutions(model):
        return [
            name
            for name, module in model.named_modules()
            if '.gate_' in name and isinstance(module, nn.Conv2d) and module.groups == 1
        ]

    model = backbone()
    fused = fuse(model)
    assert gate_convolutions(model)
    assert not gate_convolutions(fused)


def test_an_exchanged_layer_of_a_gate_is_left_to_the_user():
    model = backbone()
    gate = model.stages[0][0].token_mixer.gate_q
    gate[0].gate[3] = nn.utils.parametrizations.spectral_norm(gate[0].gate[3])
    gate[1].gate[1] = nn.Conv2d(WIDTHS[0], WIDTHS[0], 1, bias=True).double()
    model.eval()
    assert_equal(fuse(model)(images()), model(images()))


def test_the_given_model_stays_as_it_is():
    model = backbone()
    before = copy.deepcopy(model.state_dict())
    fuse(model)
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert all(p.requires_grad for p in model.parameters())
    assert not model.fused


def test_a_fused_model_has_no_parameter_that_learns():
    assert not any(p.requires_grad for p in fuse(backbone()).parameters())


def test_a_backbone_inside_another_model_is_fused_and_keeps_its_output_norms():
    model = nn.Sequential(backbone(), nn.Identity()).eval()
    fused = fuse(model)
    assert norms(fused) == [f'0.norm{i}' for i in range(4)]
    assert_equal(fused(images()), model(images()))


def test_a_norm_without_weights_folds_as_well():
    model = backbone()
    model.stem[1] = nn.BatchNorm2d(WIDTHS[0] // 2, affine=False).double().eval()
    model.stages[0][0].norm1 = nn.BatchNorm2d(WIDTHS[0], affine=False).double().eval()
    assert_equal(fuse(model)(images()), model(images()))


def test_an_unknown_token_mixer_is_refused_by_name():
    class Pooling(nn.AvgPool2d):
        pass

    model = backbone()
    model.stages[2][0].token_mixer = Pooling(3, 1, 1).eval()
    with pytest.raises(InputError, match=r'token mixer Pooling has no inference form.*fuse_norm'):
        fuse(model)


def test_a_mixer_that_inherits_its_inference_form_but_not_its_forward_is_refused():
    model = backbone()
    mixer = model.stages[0][0].token_mixer

    class Sceptic(type(mixer)):
        def forward(self, x):
            return super().forward(x) - x

    mixer.__class__ = Sceptic
    with pytest.raises(InputError, match='Sceptic has no inference form'):
        fuse(model)


def test_a_mixer_with_an_inference_form_of_its_own_is_taken():
    class Mixer(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.conv = nn.Conv2d(dim, dim, 1)

        def forward(self, x):
            return self.conv(x)

        def fuse_norm(self, norm):
            self.conv = norm_then_linear(norm, self.conv)

    model = backbone()
    model.stages[3][0].token_mixer = Mixer(WIDTHS[3]).double().eval()
    assert_equal(fuse(model)(images()), model(images()))


def test_an_exchanged_layer_that_takes_no_norm_is_refused():
    model = backbone()
    dim = WIDTHS[0]
    model.stages[0][0].mlp.fc1 = nn.Conv2d(dim, 4 * dim, 3, padding=1).double().eval()
    with pytest.raises(InputError, match=r'got Conv2d\(8, 32, kernel_size=\(3, 3\)'):
        fuse(model)


def test_a_norm_without_running_statistics_is_refused_by_name():
    model = backbone()
    model.downsamples[1].norm = nn.BatchNorm2d(WIDTHS[2], track_running_stats=False).eval()
    with pytest.raises(InputError, match=r'cannot fold downsamples\.1\.norm'):
        fuse(model)


def test_spectral_normalisation_is_not_folded_into():
    model = backbone()
    nn.utils.spectral_norm(model.stem[0]).eval()
    with pytest.raises(InputError, match=r'cannot fold stem\.1'):
        fuse(model)


def test_norms_of_blocks_fold_where_what_follows_takes_them():
    mixers = [dict(type=name) for name in ('AdditiveTokenMixer', 'PoolingTokenMixer')]
    model = backbone(token_mixer=[*mixers, mixers[0], mixers[0]])
    exchanged = model.stages[2][0].mlp
    exchanged.fc1 = nn.utils.parametrizations.spectral_norm(exchanged.fc1)
    model.eval()
    folded = copy.deepcopy(model)
    fold_block_norms(folded)
    left = {name for name in norms(folded) if name.endswith(('.norm1', '.norm2'))}
    assert left == {'stages.1.0.norm1', 'stages.2.0.norm2'}
    assert_equal(folded(images()), model(images()))
