"""CAS-ViT as a model of timm: what timm's own tests ask of every model."""

import io

import pytest
import timm
import torch
from helpers import randomize_norms, slow_after
from timm.layers import set_scriptable
from timm.models import FeatureInfo, group_parameters
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from casvit_mm import ARCHS
from casvit_mm.models import TimmCASViT

NAMES = [f'casvit_{arch}' for arch in ARCHS]


def create(name: str = 'casvit_xs', **options):
    """Build a model in eval mode whose norms are not the identity."""
    with set_scriptable(True):
        model = timm.create_model(name, **options).eval()
    if options.get('device') != 'meta':
        randomize_norms(model)
    return model


def traced(model: nn.Module) -> nn.Module:
    """The model as torchvision traces it, returning its logits alone in either mode."""
    train_nodes, eval_nodes = get_graph_node_names(model)
    return create_feature_extractor(
        model,
        train_return_nodes={train_nodes[-1]: 'logits'},
        eval_return_nodes={eval_nodes[-1]: 'logits'},
    )


def saved_and_loaded(scripted: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    return torch.jit.load(file)


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


@pytest.mark.parametrize('name', slow_after(2, NAMES))
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


def test_a_new_classifier_lies_where_the_model_does():
    model = create().to('meta', torch.float64)
    model.reset_classifier(0)
    model.reset_classifier(7)
    weight = model.get_classifier().weight
    assert (weight.device.type, weight.dtype) == ('meta', torch.float64)
    assert not any(module.training for module in model.modules())


def test_a_pruned_model_takes_a_new_classifier():
    model = create()
    model.prune_intermediate_layers([1])
    model.reset_classifier(7, 'avg')
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


@pytest.mark.parametrize('stage', range(4))
def test_a_pruned_model_ends_at_the_last_stage_that_was_asked_for(stage):
    model, x = create(), torch.rand(2, 3, 64, 64)
    outs = model.forward_intermediates(x, intermediates_only=True)
    model.prune_intermediate_layers([stage], prune_norm=True)
    torch.testing.assert_close(model.forward_features(x), outs[stage])
    features, (tap,) = model.train().forward_intermediates(x, [stage])
    (features.sum() + tap.sum()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_pruning_to_the_last_stage_keeps_the_logits():
    model, x = create(), torch.rand(1, 3, 64, 64)
    expected = model(x)
    model.prune_intermediate_layers([3], prune_head=False)
    torch.testing.assert_close(model(x), expected)


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


@pytest.mark.parametrize('name', slow_after(2, NAMES))
def test_the_model_is_traced_symbolically_with_the_same_logits(name):
    model, x = create(name), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(traced(model)(x)['logits'], model(x))


def test_every_parameter_of_the_traced_model_gets_a_gradient():
    model = traced(create(num_classes=42).train()).train()
    model(torch.randn(2, 3, 64, 64))['logits'].mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('name', slow_after(1, NAMES))
@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_the_model_is_scripted_with_the_same_logits(name, mode):
    model, x = create(name), torch.rand(2, 3, 64, 64)
    scripted = saved_and_loaded(torch.jit.script(model))
    assert set(scripted.state_dict()) == set(model.state_dict())
    for each in (scripted, model):
        each.train(mode == 'train')
    with torch.no_grad():
        torch.testing.assert_close(scripted(x), model(x))
        torch.testing.assert_close(scripted.forward_features(x), model.forward_features(x))


@pytest.mark.parametrize('name', slow_after(1, NAMES))
@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_the_traced_model_is_scripted_with_the_same_logits(name, mode):
    model, x = create(name), torch.rand(2, 3, 64, 64)
    scripted = saved_and_loaded(torch.jit.script(traced(model)))
    for each in (scripted, model):
        each.train(mode == 'train')
    with torch.no_grad():
        torch.testing.assert_close(scripted(x)['logits'], model(x))


def test_a_scripted_model_drops_paths_in_training_alone():
    scripted = torch.jit.script(create(drop_path_rate=0.5))
    x = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(scripted(x), scripted(x))
        assert not torch.equal(scripted.train()(x), scripted(x))


def test_scripting_changes_nothing_in_the_model():
    model = create()
    modules = dict(model.named_modules())
    torch.jit.script(model)
    assert dict(model.named_modules()) == modules


def test_a_scripted_model_is_trained():
    scripted = torch.jit.script(create(num_classes=42)).train()
    scripted(torch.randn(2, 3, 64, 64)).mean().backward()
    assert [key for key, p in scripted.named_parameters() if p.grad is None] == []


@pytest.mark.slow  # tests/models/test_fusion.py compiles the backbone
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
