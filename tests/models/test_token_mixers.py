"""Token mixers: one contract over every registered one, and what each computes."""

import io

import pytest
import torch
from helpers import ROOT, randomize_norms
from mmengine.config import Config
from torch import nn
from torch.nn.functional import sigmoid

from casvit_mm import TOKEN_MIXERS, CASViT
from casvit_mm.models.token_mixers import AdditiveTokenMixer, build_token_mixer

MIXERS = list(TOKEN_MIXERS.module_dict)
# Those that know no neighbourhood: a permutation of the positions permutes their output.
SET_MIXERS = (
    'MultiHeadTokenMixer',
    'SeparableTokenMixer',
    'EfficientAdditiveTokenMixer',
    'FastformerTokenMixer',
)
VARIANTS = {
    'depthwise_integration': dict(local_integration='depthwise'),
    'efficient_additive': dict(token_mixer=dict(type='EfficientAdditiveTokenMixer')),
    'fastformer': dict(token_mixer=dict(type='FastformerTokenMixer')),
    'gate_product': dict(token_mixer=dict(type='GateProductTokenMixer')),
    'multihead': dict(token_mixer=dict(type='MultiHeadTokenMixer')),
    'no_channel_gate': dict(token_mixer=dict(type='AdditiveTokenMixer', channel_gate=False)),
    'no_dwconv': dict(token_mixer=dict(type='AdditiveTokenMixer', dwconv=False)),
    'no_integration': dict(local_integration='none'),
    'no_spatial_gate': dict(token_mixer=dict(type='AdditiveTokenMixer', spatial_gate=False)),
    'pooling': dict(token_mixer=dict(type='PoolingTokenMixer')),
    'separable': dict(token_mixer=dict(type='SeparableTokenMixer')),
}


def build(name: str, dim: int = 12, **options) -> nn.Module:
    """A mixer whose norms and weights are not the identity."""
    torch.manual_seed(0)
    mixer = build_token_mixer(dict(type=name, **options), dim).eval()
    randomize_norms(mixer)
    return mixer


def test_the_mixers_of_the_comparison_are_registered():
    others = ['AdditiveTokenMixer', 'GateProductTokenMixer', 'PoolingTokenMixer']
    assert sorted(MIXERS) == sorted([*SET_MIXERS, *others])


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 9), (6, 5)])
def test_a_mixer_keeps_any_shape(name, height, width):
    x = torch.rand(2, 12, height, width)
    assert build(name)(x).shape == x.shape


@pytest.mark.parametrize('name', [n for n in MIXERS if n != 'PoolingTokenMixer'])
def test_every_parameter_of_a_mixer_gets_a_gradient(name):
    mixer = build(name).train()
    mixer(torch.rand(2, 12, 6, 5)).square().sum().backward()
    assert [key for key, p in mixer.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('name', MIXERS)
def test_the_order_of_the_memory_does_not_matter(name):
    mixer, x = build(name).double(), torch.rand(2, 12, 6, 5, dtype=torch.float64)
    expected = mixer(x)
    mixer = mixer.to(memory_format=torch.channels_last)
    torch.testing.assert_close(mixer(x.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize('name', MIXERS)
def test_an_image_is_mixed_alone(name):
    mixer, x = build(name).double(), torch.rand(3, 12, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(mixer(x)[1:2], mixer(x[1:2]))


@pytest.mark.parametrize('name', MIXERS)
def test_mixed_precision_gives_nearly_the_same(name):
    mixer, x = build(name), torch.rand(2, 12, 20, 20)
    expected = mixer(x)
    with torch.autocast('cpu', torch.bfloat16):
        found = mixer(x).float()
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize('name', MIXERS)
def test_onnx_gives_the_same(name):
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    mixer, x, file = build(name), torch.rand(1, 12, 6, 5), io.BytesIO()
    torch.onnx.export(mixer, (x,), file, opset_version=17, dynamo=False, input_names=['x'])
    session = runtime.InferenceSession(file.getvalue(), providers=['CPUExecutionProvider'])
    found = torch.from_numpy(session.run(None, {'x': x.numpy()})[0])
    torch.testing.assert_close(found, mixer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', SET_MIXERS)
def test_attention_over_a_set_follows_a_permutation_of_the_positions(name):
    mixer, x = build(name).double(), torch.rand(1, 12, 4, 6, dtype=torch.float64)
    order = torch.randperm(24)
    permuted = x.flatten(2)[:, :, order].reshape(x.shape)
    torch.testing.assert_close(mixer(permuted), mixer(x).flatten(2)[:, :, order].reshape(x.shape))


@pytest.mark.parametrize('name', [n for n in MIXERS if n != 'PoolingTokenMixer'])
def test_every_position_reaches_every_other(name):
    mixer, x = build(name).double(), torch.rand(1, 12, 12, 12, dtype=torch.float64)
    other = x.clone()
    other[:, :, 0, 0] += torch.rand(12)  # a norm over the channels would not see the same for all
    assert (mixer(other) - mixer(x))[:, :, -1, -1].abs().max() > 1e-6


def test_the_cubic_mixer_does_not_grow_with_a_bright_image():
    mixer, x = build('FastformerTokenMixer').double(), torch.rand(1, 12, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(mixer(1e4 * x), mixer(x), rtol=0.01, atol=0.01)


def test_pooling_reaches_the_neighbours_alone():
    mixer, x = build('PoolingTokenMixer'), torch.rand(1, 12, 12, 12)
    other = x.clone()
    other[:, :, 0, 0] += 1
    changed = (mixer(other) != mixer(x)).any(1)[0].nonzero().max()
    assert changed == 1


def test_the_product_of_gates_is_the_formula_of_the_articles():
    mixer, x = build('GateProductTokenMixer'), torch.rand(2, 12, 6, 5)
    q, k, v = mixer.qkv(x).chunk(3, dim=1)
    channel = sigmoid(mixer.gate_q[1](q.mean((2, 3), keepdim=True)))
    spatial = sigmoid(mixer.gate_k[:4](k))
    assert spatial.shape == (2, 1, 6, 5)
    torch.testing.assert_close(mixer(x), mixer.proj(channel * spatial * v))


@pytest.mark.parametrize(
    ('option', 'gone'),
    [
        ('spatial_gate', lambda m: [m.gate_q[0], m.gate_k[0]]),
        ('channel_gate', lambda m: [m.gate_q[1], m.gate_k[1]]),
        ('dwconv', lambda m: [m.dwconv]),
    ],
)
def test_an_ablation_leaves_out_just_its_part(option, gone):
    whole, ablated = AdditiveTokenMixer(12), AdditiveTokenMixer(12, **{option: False})
    count = [sum(p.numel() for p in m.parameters()) for m in (whole, ablated)]
    assert count[0] - count[1] == sum(p.numel() for m in gone(whole) for p in m.parameters())


def test_without_gates_the_additive_mixer_is_the_gated_sum_without_gates():
    mixer = build('AdditiveTokenMixer', spatial_gate=False, channel_gate=False, dwconv=False)
    x = torch.rand(2, 12, 6, 5)
    q, k, v = mixer.qkv(x).chunk(3, dim=1)
    torch.testing.assert_close(mixer(x), mixer.proj((q + k) * v))


def test_without_a_choice_the_mixer_is_the_published_one(tiny_arch):
    blocks = [block for stage in CASViT(tiny_arch).stages for block in stage]
    assert all(type(block.token_mixer) is AdditiveTokenMixer for block in blocks)


@pytest.mark.parametrize('name', MIXERS)
def test_a_backbone_takes_any_mixer(tiny_arch, name):
    model = CASViT(tiny_arch, token_mixer=dict(type=name)).train()
    outs = model(torch.rand(2, 3, 64, 96))
    assert [out.shape[1:] for out in outs] == [(8, 16, 24), (12, 8, 12), (16, 4, 6), (20, 2, 3)]
    assert {type(block.token_mixer).__name__ for stage in model.stages for block in stage} == {name}


def test_each_stage_takes_a_mixer_of_its_own(tiny_arch):
    names = [
        'PoolingTokenMixer',
        'AdditiveTokenMixer',
        'FastformerTokenMixer',
        'MultiHeadTokenMixer',
    ]
    cfg = Config(dict(mixers=[dict(type=name) for name in names]))
    model = CASViT(tiny_arch, token_mixer=cfg.mixers, out_indices=(0, 1, 2))
    assert [type(stage[0].token_mixer).__name__ for stage in model.stages] == names[:3]


def test_the_callers_choice_is_not_changed(tiny_arch):
    choice = dict(type='FastformerTokenMixer', num_heads=2)
    CASViT(tiny_arch, token_mixer=choice)
    assert choice == dict(type='FastformerTokenMixer', num_heads=2)


def test_without_integration_the_block_goes_straight_to_the_mixer(tiny_arch):
    block = CASViT(tiny_arch, local_integration='none').stages[0][0].eval()
    x = torch.rand(1, 8, 6, 6)
    mixed = x + block.token_mixer(block.norm1(x))
    torch.testing.assert_close(block(x), mixed + block.mlp(block.norm2(mixed)))


def test_depthwise_integration_is_three_depthwise_convolutions_with_relu(tiny_arch):
    layers = CASViT(tiny_arch, local_integration='depthwise').stages[0][0].local_integration
    assert [type(layer).__name__ for layer in layers] == ['Conv2d', 'ReLU'] * 2 + ['Conv2d']
    assert all(conv.groups == 8 for conv in layers[::2])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(token_mixer=dict(type='Poling')), "unknown token mixer 'Poling'.* PoolingTokenMixer"),
        (dict(token_mixer=dict(num_heads=2)), 'unknown token mixer None'),
        (dict(token_mixer='PoolingTokenMixer'), r"dict\(type='...'\)"),
        (dict(token_mixer=[dict(type='PoolingTokenMixer')] * 3), '3 mixers for 4 stages'),
        (
            dict(token_mixer=dict(type='FastformerTokenMixer', num_heads=3)),
            r'must divide the 8 channels, got 3; \[1, 2, 4, 8\] do',
        ),
        (dict(token_mixer=dict(type='MultiHeadTokenMixer', num_heads=0)), 'got 0'),
        (dict(token_mixer=dict(type='PoolingTokenMixer', kernel_size=2)), 'must be odd, got 2'),
        (dict(local_integration='conv'), "'conv', expected one of published, depthwise, none"),
    ],
)
def test_wrong_choices_are_refused_by_name(tiny_arch, arguments, message):
    with pytest.raises(ValueError, match=message):
        CASViT(tiny_arch, **arguments)


def test_a_misspelt_option_of_a_mixer_is_an_error(tiny_arch):
    with pytest.raises(TypeError, match='heads'):
        CASViT(tiny_arch, token_mixer=dict(type='MultiHeadTokenMixer', heads=2))


def test_a_mixer_that_changes_the_shape_is_refused(tiny_arch):
    class Shrinking(nn.AvgPool2d):
        def __init__(self, dim):
            super().__init__(2)

    TOKEN_MIXERS.register_module('Shrinking', module=Shrinking)
    try:
        with pytest.raises(ValueError, match=r'Shrinking makes \(1, 8, 2, 3\) of \(1, 8, 5, 7\)'):
            CASViT(tiny_arch, token_mixer=dict(type='Shrinking'))
    finally:
        del TOKEN_MIXERS.module_dict['Shrinking']


def test_every_announced_variant_has_a_config():
    found = {path.stem for path in (ROOT / 'configs').glob('casvit_xs_imagenet_*.py')}
    known = {f'casvit_xs_imagenet_{name}' for name in (*VARIANTS, 'ft384', 'distill')}
    assert found == known


@pytest.mark.parametrize('name', VARIANTS)
def test_the_config_of_a_variant_is_the_pretraining_but_for_its_part(name):
    pytest.importorskip('mmpretrain')
    found, base = (
        Config.fromfile(ROOT / f'configs/{stem}.py')
        for stem in (f'casvit_xs_imagenet_{name}', 'casvit_xs_imagenet')
    )
    base.model.backbone.update(VARIANTS[name])
    assert found.to_dict() == base.to_dict()
    arguments = {key: value for key, value in found.model.backbone.items() if key != 'type'}
    assert CASViT(**arguments).eval()(torch.rand(1, 3, 32, 32))[0].shape == (1, 220, 1, 1)
