import itertools
import re

import pytest
import torch
from helpers import randomize_norms
from mmengine.registry import MODELS
from timm.layers import DropPath
from torch import nn

from casvit_mm import ARCHS, CASViT
from casvit_mm.export.quantize import _BOUND_BY_MEMORY

ALL_SUBSETS = [subset for n in (1, 2, 3, 4) for subset in itertools.combinations(range(4), n)]


@pytest.mark.parametrize('arch', ARCHS)
def test_every_arch_returns_its_declared_channels_and_strides(arch):
    model = CASViT(arch).eval()
    with torch.no_grad():
        outs = model(torch.rand(1, 3, 64, 96))
    assert isinstance(outs, tuple)
    assert model.out_channels == ARCHS[arch]['embed_dims']
    assert model.out_strides == (4, 8, 16, 32)
    shapes = [(1, c, 64 // s, 96 // s) for c, s in zip(model.out_channels, model.out_strides)]
    assert [tuple(out.shape) for out in outs] == shapes


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (33, 65), (127, 50), (97, 224)])
def test_odd_sizes_round_up(tiny_arch, height, width):
    model = CASViT(tiny_arch).eval()
    outs = model(torch.rand(1, 3, height, width))
    for out, stride in zip(outs, model.out_strides):
        assert out.shape[2:] == (-(-height // stride), -(-width // stride))


def test_outputs_follow_the_order_of_out_indices_and_negatives_count_from_the_end(tiny_arch):
    torch.manual_seed(0)
    full = CASViT(tiny_arch).eval()
    model = CASViT(tiny_arch, out_indices=[-1, 1]).eval()
    model.load_state_dict(full.state_dict(), strict=False)
    x = torch.rand(2, 3, 64, 64)
    expected, (last, second) = full(x), model(x)
    assert model.out_channels == (20, 12)
    torch.testing.assert_close(last, expected[3])
    torch.testing.assert_close(second, expected[1])


@pytest.mark.parametrize('out_indices', ALL_SUBSETS)
def test_every_parameter_gets_a_gradient(tiny_arch, out_indices):
    model = CASViT(tiny_arch, out_indices=out_indices).train()
    sum(out.square().sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_callers_out_indices_are_not_changed(tiny_arch):
    indices = [-1, 0]
    CASViT(tiny_arch, out_indices=indices)
    assert indices == [-1, 0]


def test_stage_outputs_go_on_without_their_norm(tiny_arch):
    model = CASViT(tiny_arch).eval()
    x = torch.rand(1, 3, 64, 64)
    before = model(x)
    nn.init.constant_(model.norm0.weight, 7.0)
    after = model(x)
    torch.testing.assert_close(after[0], before[0] * 7)
    torch.testing.assert_close(after[1], before[1])


def test_in_channels_reach_the_stem(tiny_arch):
    assert CASViT(tiny_arch, in_channels=5)(torch.rand(2, 5, 32, 32))[0].shape[1] == 8


def test_norm_eval_keeps_running_statistics_but_trains_weights(tiny_arch):
    model = CASViT(tiny_arch, norm_eval=True)
    assert model.train() is model
    before = {k: v.clone() for k, v in model.named_buffers()}
    sum(out.sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
    assert all(torch.equal(v, before[k]) for k, v in model.named_buffers())
    assert model.stages[0][0].norm1.weight.grad is not None
    assert model.stages[0][0].training


def test_without_norm_eval_running_statistics_move(tiny_arch):
    model = CASViT(tiny_arch).train()
    model(torch.rand(2, 3, 64, 64))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked == 1 for norm in norms)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 4])
def test_frozen_stages_take_no_gradient_and_keep_running_stats(tiny_arch, frozen_stages):
    model = CASViT(tiny_arch, frozen_stages=frozen_stages).train()
    sum(out.square().sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
    parts = [model.stem, *model.stages]
    for depth, part in enumerate(parts):
        frozen = depth <= frozen_stages
        assert all((p.grad is None) == frozen for p in part.parameters())
        tracked = [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all((m.num_batches_tracked == 0) == frozen for m in tracked)
    for i, part in enumerate(model.downsamples):
        assert all((p.grad is None) == (i + 2 <= frozen_stages) for p in part.parameters())


def test_drop_path_grows_linearly_over_all_blocks_also_when_later_stages_are_not_built():
    arch = dict(depths=(1, 2, 1, 2), embed_dims=(8, 8, 8, 8))
    rates = [0.1 * i / 5 for i in range(6)]
    for out_indices, count in (((0, 1, 2, 3), 6), ((0, 1), 3)):
        model = CASViT(arch, out_indices=out_indices, drop_path_rate=0.1)
        found = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
        assert found == pytest.approx(rates[:count])


def test_drop_path_skips_mixer_and_mlp_but_not_local_integration(tiny_arch):
    block = CASViT(tiny_arch).stages[0][0].train()
    block.drop_path = DropPath(1 - 1e-9)
    x = torch.rand(4, 8, 8, 8)
    expected = x + block.local_integration(x)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize('norm_eval', [False, True])
def test_gradient_checkpointing_changes_neither_gradients_nor_statistics(tiny_arch, norm_eval):
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = CASViT(tiny_arch, with_cp=with_cp, norm_eval=norm_eval, drop_path_rate=0.3)
        model = model.double().train()
        randomize_norms(model)
        sum(out.square().sum() for out in model(x)).backward()
        results.append(([p.grad for p in model.parameters()], list(model.buffers())))
    for plain, checkpointed in zip(*results):
        for a, b in zip(plain, checkpointed):
            torch.testing.assert_close(a, b)


def test_plain_type_name_builds_in_every_framework():
    for scope in ('mmdet', 'mmseg', 'mmpretrain'):
        framework = pytest.importorskip(scope)
        registry = __import__(f'{framework.__name__}.registry', fromlist=['MODELS']).MODELS
        assert isinstance(registry.build(dict(type='CASViT', arch='xs')), CASViT)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='l'), "unknown arch 'l'"),
        (dict(arch=dict(depths=(1, 1))), 'exactly depths and embed_dims'),
        (dict(arch=dict(depths=(1,), embed_dims=(8, 8))), 'one entry per stage'),
        (dict(arch=dict(depths=(0,), embed_dims=(8,))), 'positive integers'),
        (dict(out_indices=(4,)), r'out_indices must be in \[-4, 3\]'),
        (dict(out_indices=()), 'must be a sequence'),
        (dict(out_indices=2), 'must be a sequence'),
        (dict(out_indices=(3, -1)), 'twice'),
        (dict(out_indices=(0, 1), frozen_stages=3), r'frozen_stages must be in \[-1, 2\]'),
        (dict(drop_path_rate=1.0), r'drop_path_rate must be in \[0, 1\)'),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        CASViT(**arguments)


def test_a_misspelt_argument_is_an_error():
    with pytest.raises(TypeError, match='drop_rate'):
        MODELS.build(dict(type='CASViT', drop_rate=0.1))


def test_int8_leaves_out_all_of_the_mixer_but_its_map_by_the_names_that_the_parts_have(tiny_arch):
    block = CASViT(tiny_arch).stages[0][0]
    parts = {name for name, _ in block.token_mixer.named_children()}
    path = next(name for name, module in block.named_children() if module is block.token_mixer)
    names = {part: f'/body/network/stages.0/stages.0.0/{path}/{part}/Conv' for part in parts}
    left_out = {
        part for part in parts if any(re.match(each, names[part]) for each in _BOUND_BY_MEMORY)
    }
    assert left_out == parts - {'qkv'}
