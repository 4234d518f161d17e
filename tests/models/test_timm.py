"""CAS-ViT as a model of timm: the published numbers, and what timm's tests ask of every model."""

import argparse
import copy

import numpy as np
import pytest
import timm
import torch
from helpers import (
    GOLDEN,
    Malicious,
    build_classifier,
    golden_input,
    official_state_dict,
    randomize_norms,
)
from timm.models import FeatureInfo, group_parameters
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from casvit_mm import ARCHS, CASViT, InputError, load_weights
from casvit_mm.models import TimmCASViT

OUTPUTS = np.load(GOLDEN / 'outputs.npz')
NAMES = [f'casvit_{arch}' for arch in ARCHS]
PARAMETERS_WITH_ONE_HEAD = {'xs': 2_979_700, 's': 5_507_224, 'm': 12_036_520, 't': 21_250_120}


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """A published classification file of XS, with what lies beside its weights."""
    path = tmp_path_factory.mktemp('timm') / 'cas-vit-xs.pth'
    content = dict(model=official_state_dict('xs'), epoch=299, args=argparse.Namespace(lr=6e-3))
    torch.save(content, path)
    return path


def create(name: str = 'casvit_xs', file=None, **options):
    """Build a model with the weights of ``file``."""
    overlay = dict(file=str(file)) if file else None
    return timm.create_model(
        name, pretrained=file is not None, pretrained_cfg_overlay=overlay, **options
    ).eval()


def assert_golden(value: torch.Tensor, golden: np.ndarray, largest: float) -> None:
    assert (value - torch.from_numpy(golden)).abs().max() <= 1e-5 * largest


# The published numbers


@pytest.mark.parametrize('arch', ARCHS)
def test_logits_of_the_two_headed_file_are_the_published_ones(arch, tmp_path):
    torch.save(dict(model=official_state_dict(arch)), tmp_path / 'c.pth')
    with torch.no_grad():
        logits = create(f'casvit_{arch}', tmp_path / 'c.pth')(golden_input())
    golden = OUTPUTS[f'{arch}_logits']
    assert_golden(logits, golden, np.abs(golden).max())


@pytest.mark.parametrize('arch', ARCHS)
def test_features_of_the_dense_file_are_the_published_ones(arch, tmp_path):
    state = {f'backbone.{k}': v for k, v in official_state_dict(arch, dense=True).items()}
    torch.save(dict(state_dict=state), tmp_path / 'dense.pth')
    model = create(f'casvit_{arch}', tmp_path / 'dense.pth', features_only=True)
    with torch.no_grad():
        outs = model(golden_input())
    for i, out in enumerate(outs):
        step = 2 if i < 2 else 1
        thinned = out[:, ::8, ::step, ::step] if i < 3 else out
        assert_golden(thinned, OUTPUTS[f'{arch}_feat{i}'], OUTPUTS[f'{arch}_max{i}'])


@pytest.mark.parametrize('arch', ARCHS)
def test_parameters_are_the_published_number_less_one_head(arch):
    model = create(f'casvit_{arch}', device='meta')
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS_WITH_ONE_HEAD[arch]


# Files


def test_features_of_the_classification_file_are_those_of_the_backbone(official):
    backbone = CASViT('xs', out_indices=(1, 3)).eval()
    load_weights(backbone, official)
    model = create(file=official, features_only=True, out_indices=(1, -1))
    with torch.no_grad():
        for out, expected in zip(model(golden_input()), backbone(golden_input()), strict=True):
            torch.testing.assert_close(out, expected)


@pytest.mark.skipif(not hasattr(torch.serialization, 'safe_globals'), reason='torch 2.4')
def test_checkpoint_path_takes_a_published_file(official):
    model = timm.create_model('casvit_xs', checkpoint_path=str(official)).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(golden_input()), create(file=official)(golden_input()))


def test_a_file_of_timm_loads_again(tmp_path):
    model = create()
    randomize_norms(model)
    torch.save(model.state_dict(), tmp_path / 'own.pth')
    for again in (
        create(file=tmp_path / 'own.pth'),
        timm.create_model('casvit_xs', checkpoint_path=str(tmp_path / 'own.pth')).eval(),
    ):
        torch.testing.assert_close(again(golden_input()), model(golden_input()))


def test_the_keys_are_those_of_our_mmpretrain_classifier():
    pytest.importorskip('mmpretrain')
    assert set(create().state_dict()) == set(build_classifier('xs').state_dict())


def test_a_state_dict_in_memory_loads(official):
    state = official_state_dict('xs')
    model = timm.create_model(
        'casvit_xs', pretrained=True, pretrained_cfg_overlay=dict(state_dict=state)
    ).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(golden_input()), create(file=official)(golden_input()))


def test_a_copy_takes_published_keys_into_itself():
    model = create()
    copied = copy.deepcopy(model)
    before = model.backbone.stem[0].weight.clone()
    copied.load_state_dict(official_state_dict('xs'))
    expected = official_state_dict('xs')['patch_embed.0.weight']
    assert torch.equal(copied.backbone.stem[0].weight, expected)
    assert torch.equal(model.backbone.stem[0].weight, before)


def test_one_channel_takes_the_sum_of_the_stem_over_three(official):
    stem = create(file=official, in_chans=1).backbone.stem[0].weight
    expected = official_state_dict('xs')['patch_embed.0.weight'].sum(1, keepdim=True)
    torch.testing.assert_close(stem.detach(), expected)


def test_other_classes_keep_everything_but_the_classifier(official):
    model, full = create(file=official, num_classes=5), create(file=official)
    with torch.no_grad():
        torch.testing.assert_close(
            model.forward_features(golden_input()), full.forward_features(golden_input())
        )
        assert model(golden_input()).shape == (2, 5)


@pytest.mark.parametrize('options', [dict(num_classes=0), dict(num_classes=0, in_chans=1)])
def test_no_classes_take_the_backbone_alone(official, options):
    model = create(file=official, **options)
    assert torch.equal(model.backbone.norm3.weight, official_state_dict('xs')['norm.weight'])


def test_a_file_of_other_classes_needs_to_be_told(tmp_path):
    torch.save(create(num_classes=5).state_dict(), tmp_path / 'five.pth')
    with pytest.raises(InputError, match=r'head\.fc\.weight: file \(5, 220\), model \(1000, 220\)'):
        create(file=tmp_path / 'five.pth')
    overlay = dict(file=str(tmp_path / 'five.pth'), num_classes=5)
    timm.create_model('casvit_xs', pretrained=True, pretrained_cfg_overlay=overlay)


@pytest.mark.parametrize('options', [{}, dict(num_classes=5), dict(in_chans=1)])
def test_a_file_of_another_variant_is_refused_however_the_model_differs(official, options):
    with pytest.raises(InputError, match=r'\d+/\d+ keys matched'):
        create('casvit_s', official, **options)


def test_a_file_without_a_classifier_is_refused_where_one_is_asked_for(tmp_path):
    torch.save(CASViT('xs', out_indices=(3,)).state_dict(), tmp_path / 'bare.pth')
    with pytest.raises(InputError, match=r'holds no classifier; .* num_classes=0'):
        create(file=tmp_path / 'bare.pth')
    create(file=tmp_path / 'bare.pth', num_classes=0)


def test_pretrained_without_a_file_says_where_it_belongs():
    advice = r'(?s)checkpoints/cas-vit-m\.pth.*download_weights cas-vit-m'
    with pytest.raises(InputError, match=advice):
        timm.create_model('casvit_m', pretrained=True)


@pytest.mark.parametrize('way', ['file', 'file for 5 classes', 'features', 'checkpoint_path'])
def test_code_in_a_file_does_not_run(tmp_path, way):
    content = dict(model=official_state_dict('xs'), optimizer=Malicious(tmp_path / 'ran'))
    path = tmp_path / 'evil.pth'
    torch.save(content, path)
    load = {
        'file': lambda: create(file=path),
        'file for 5 classes': lambda: create(file=path, num_classes=5),
        'features': lambda: create(file=path, features_only=True),
        'checkpoint_path': lambda: timm.create_model('casvit_xs', checkpoint_path=str(path)),
    }[way]
    with pytest.raises((InputError, RuntimeError), match=r'posix\.mkdir|weights_only'):
        load()
    assert not (tmp_path / 'ran').exists()


# What timm's own tests ask of a model


@pytest.mark.parametrize('name', [*NAMES, 'casvit_xs.in1k_384'])
def test_sizes_are_those_of_the_default_config(name):
    model = create(name)
    size, pool = model.default_cfg['input_size'], model.default_cfg['pool_size']
    x = torch.rand(1, *size)
    with torch.no_grad():
        features = model.forward_features(x)
        pooled = model.forward_head(features, pre_logits=True)
        assert features.shape == (1, model.num_features, *pool)
        assert pooled.shape == (1, model.head_hidden_size)
        assert model(x).shape == (1, 1000)
        model.reset_classifier(0)
        assert model.num_classes == 0
        torch.testing.assert_close(model(x), pooled)
        model.reset_classifier(0, '')
        torch.testing.assert_close(model(x), features)


def test_a_model_without_classifier_and_pooling_returns_the_features():
    assert create(num_classes=0, global_pool='')(torch.rand(1, 3, 64, 96)).shape == (1, 220, 2, 3)


@pytest.mark.parametrize('name', ['casvit_xs', 'casvit_xs.in1k_384'])
def test_the_names_in_the_config_are_keys(name):
    model = create(name)
    assert f'{model.default_cfg["classifier"]}.weight' in model.state_dict()
    assert f'{model.default_cfg["first_conv"]}.weight' in model.state_dict()


def test_images_are_prepared_as_the_authors_evaluate():
    at224 = timm.data.resolve_data_config(model=create())
    at384 = timm.data.resolve_data_config(model=create('casvit_xs.in1k_384'))
    assert (at224['input_size'], at224['crop_pct'], at224['interpolation']) == (
        (3, 224, 224),
        224 / 256,
        'bicubic',
    )
    assert (at384['input_size'], at384['crop_pct'], at384['crop_mode']) == (
        (3, 384, 384),
        1.0,
        'squash',
    )
    assert at224['mean'] == (0.485, 0.456, 0.406)


@pytest.mark.parametrize('name', NAMES)
def test_every_parameter_gets_a_gradient(name):
    model = timm.create_model(name, num_classes=42, drop_rate=0.1, drop_path_rate=0.1).train()
    logits = model(torch.randn(2, 3, 64, 64))
    logits.mean().backward()
    assert logits.shape == (2, 42)
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_the_classifier_is_replaced():
    model = create()
    model.reset_classifier(7)
    assert model.get_classifier().out_features == 7
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 7)


def test_drop_path_rate_reaches_the_last_block():
    model = create(drop_path_rate=0.2)
    assert model.backbone.stages[3][-1].drop_path.drop_prob == pytest.approx(0.2)


@pytest.mark.parametrize('name', NAMES)
def test_features_have_the_channels_and_strides_they_tell(name):
    model = create(name, features_only=True)
    outs = model(torch.rand(1, 3, 96, 64))
    info = model.feature_info
    for out, channels, stride in zip(outs, info.channels(), info.reduction(), strict=True):
        assert out.shape == (1, channels, 96 // stride, 64 // stride)


@pytest.mark.parametrize(
    ('out_indices', 'strides'), [((2,), [16]), ((0, 2), [4, 16]), (2, [16, 32])]
)
def test_features_that_were_not_asked_for_are_not_built(out_indices, strides):
    model = create(features_only=True, out_indices=out_indices).train()
    outs = model(torch.rand(2, 3, 64, 64))
    assert model.feature_info.reduction() == strides
    sum(out.square().sum() for out in outs).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_intermediates_come_with_the_features_and_without_norms():
    model = create()
    randomize_norms(model)
    x = torch.rand(1, 3, 64, 96)
    features, outs = model.forward_intermediates(x)
    torch.testing.assert_close(features, model.forward_features(x))
    torch.testing.assert_close(model.backbone.norm3(outs[3]), features)
    info = FeatureInfo(model.feature_info, len(model.feature_info))
    assert [out.shape[1] for out in outs] == info.channels()
    normed = model.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)
    torch.testing.assert_close(normed[0], features)


def test_stopping_early_runs_no_later_stage():
    model = create()
    model.backbone.downsamples[1] = nn.Conv2d(1, 1, 1)  # would fail
    x = torch.rand(1, 3, 64, 64)
    outs = model.forward_intermediates(x, [0, 1], stop_early=True, intermediates_only=True)
    assert [out.shape[1] for out in outs] == [48, 56]


def test_pruning_keeps_the_intermediates():
    model = create()
    x = torch.rand(1, 3, 64, 64)
    before = model.forward_intermediates(x, [0, 2], intermediates_only=True)
    assert model.prune_intermediate_layers([0, 2], prune_norm=True) == [0, 2]
    after = model.forward_intermediates(x, [0, 2], intermediates_only=True)
    torch.testing.assert_close(after, before)
    assert len(model.backbone.stages) == 3
    assert model.num_features == model(x).shape[1] == 112


def test_gradient_checkpointing_changes_no_gradient():
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    gradients = []
    for enable in (False, True):
        torch.manual_seed(0)
        model = create().double().train()
        model.set_grad_checkpointing(enable)
        model(x).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_layers_are_grouped_from_the_stem_to_the_classifier():
    model = create()
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    assert groups['backbone.stem.0.weight'] == 0
    assert groups['backbone.downsamples.0.conv.weight'] == 3
    assert groups['backbone.stages.3.1.mlp.fc1.weight'] == groups['backbone.norm3.weight'] == 10
    assert groups['head.fc.weight'] == 11
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert [coarse[f'backbone.stages.{i}.0.norm1.weight'] for i in range(4)] == [1, 2, 3, 4]
    assert coarse['head.fc.weight'] == 5


def test_timms_layer_decay_gives_the_classifier_the_full_rate():
    groups = param_groups_layer_decay(create(), layer_decay=0.5)
    scales = sorted({group['lr_scale'] for group in groups})
    assert scales == [0.5**i for i in range(11, -1, -1)]


def test_norms_and_biases_get_no_weight_decay():
    model = create()
    without = next(g for g in param_groups_weight_decay(model, 0.05) if not g['weight_decay'])
    found = {id(p) for p in without['params']}
    expected = {
        id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()
    }
    expected |= {id(p) for key, p in model.named_parameters() if key.endswith('bias')}
    assert found == expected


def test_the_model_is_traced_symbolically_with_the_same_logits():
    model = create()
    x = torch.rand(1, 3, 64, 64)
    _, nodes = get_graph_node_names(model)
    traced = create_feature_extractor(model, return_nodes=[nodes[-1]])
    with torch.no_grad():
        assert torch.equal(traced(x)[nodes[-1]], model(x))


def test_the_model_is_traced_for_torchscript_with_the_same_logits():
    model = create()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.trace(model, x)(x), model(x))


def test_the_model_compiles_as_one_graph():
    model = create()
    x = torch.rand(1, 3, 64, 64)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


def test_weights_are_made_in_the_type_that_is_asked_for():
    types = {p.dtype for p in create(dtype=torch.bfloat16).parameters()}
    assert types == {torch.bfloat16}


def test_the_names_can_be_listed_and_imported():
    assert set(NAMES) <= set(timm.list_models('casvit*'))
    import casvit_mm.models.timm_casvit as module

    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(output_stride=16), ValueError, 'output stride of 32 and cannot be dilated'),
        (dict(features_only=True, feature_cls='hook'), ValueError, "feature_cls='getter'"),
        (dict(drop_path=0.1), TypeError, 'drop_path'),
        (dict(drop_path_rate=1.0), ValueError, r'drop_path_rate must be in \[0, 1\)'),
        (dict(features_only=True, out_indices=(4,)), AssertionError, 'index 4 is out of range'),
    ],
)
def test_wrong_arguments_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        timm.create_model('casvit_xs', **options)


def test_other_layouts_of_the_output_are_refused():
    with pytest.raises(ValueError, match="output_fmt must be 'NCHW', got 'NHWC'"):
        TimmCASViT().forward_intermediates(torch.rand(1, 3, 64, 64), output_fmt='NHWC')
