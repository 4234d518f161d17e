"""Layer-wise learning rates in the models of all three frameworks."""

import importlib

import pytest
from helpers import ROOT, TINY_ARCH
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

import casvit_mm.engine.layer_decay  # noqa: F401  registers the constructor
from casvit_mm.errors import InputError
from casvit_mm.models import CASViT

DIMS = list(TINY_ARCH['embed_dims'])
CLASSIFIER = dict(
    type='ImageClassifier',
    backbone=dict(type='CASViT', arch=TINY_ARCH, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=DIMS[-1]),
)


def tiny_model(scope: str) -> nn.Module:
    """Build a tiny model of a framework, with that framework's registries in force."""
    importlib.import_module(f'{scope}.models')
    DefaultScope.get_instance(f'test_{scope}', scope_name=scope)
    if scope == 'mmpretrain':
        return MODELS.build(CLASSIFIER)
    name = 'retinanet_casvit_xs_coco' if scope == 'mmdet' else 'semfpn_casvit_xs_ade20k'
    cfg = Config.fromfile(ROOT / f'configs/{name}.py').model
    cfg.backbone.update(arch=TINY_ARCH, init_cfg=None)
    outputs = cfg.backbone.get('out_indices', (0, 1, 2, 3))
    cfg.neck.in_channels = [DIMS[i] for i in outputs]
    return MODELS.build(cfg)


@pytest.fixture(params=['mmpretrain', 'mmdet', 'mmseg'])
def model(request):
    before = list(DefaultScope._instance_dict)
    yield tiny_model(request.param)
    for name in set(DefaultScope._instance_dict) - set(before):
        del DefaultScope._instance_dict[name]


def settings(model: nn.Module, **paramwise) -> dict[str, dict]:
    """Return learning rate and weight decay by the name of the parameter."""
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
            constructor='LayerDecayOptimWrapperConstructor',
            paramwise_cfg=paramwise,
        ),
    )
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    return {names[p].removeprefix('module.'): group for group in groups for p in group['params']}


def test_the_rate_falls_by_one_factor_per_layer_in_every_framework(model):
    found = settings(model, layer_decay_rate=0.5)
    rates = {name: group['lr'] for name, group in found.items()}
    assert rates['backbone.stem.0.weight'] == 0.5**5
    assert rates['backbone.stages.0.0.mlp.fc1.weight'] == 0.5**4
    assert rates['backbone.downsamples.2.conv.weight'] == 0.5
    assert rates['backbone.stages.3.0.mlp.fc1.weight'] == 0.5
    assert rates['backbone.norm3.weight'] == 0.5
    assert {rate for name, rate in rates.items() if not name.startswith('backbone.')} == {1.0}


def test_every_trained_parameter_has_one_rate(model):
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(settings(model, layer_decay_rate=0.5)) == trained


class Tiny(nn.Module):
    """A classifier of torch alone."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(20, 2)


@pytest.fixture
def tiny() -> Tiny:
    arch = dict(depths=(1, 2, 1, 1), embed_dims=TINY_ARCH['embed_dims'])
    return Tiny(CASViT(arch, out_indices=(1, 3)))


def test_other_settings_stay_in_force(tiny):
    found = settings(
        tiny,
        layer_decay_rate=0.5,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'head': dict(lr_mult=10.0), 'stem.0': dict(lr_mult=4.0, decay_mult=2.0)},
    )
    assert found['head.weight']['lr'] == 10.0
    assert found['backbone.stem.0.weight']['lr'] == 4.0 * 0.5**6
    assert found['backbone.stem.0.weight']['weight_decay'] == 0.1
    assert found['backbone.stem.1.weight']['weight_decay'] == 0.0
    assert found['backbone.downsamples.0.conv.bias']['weight_decay'] == 0.0
    assert found['backbone.downsamples.0.conv.weight']['weight_decay'] == 0.05


def test_a_wrapped_model_gets_the_same_rates(tiny):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    alone, wrapped = (settings(m, layer_decay_rate=0.7) for m in (tiny, Wrapper(tiny)))
    assert {n: g['lr'] for n, g in wrapped.items()} == {n: g['lr'] for n, g in alone.items()}


def test_depths_count_every_block_and_the_outputs_norms_with_their_stage(tiny):
    def depth(name):
        return tiny.backbone.get_layer_depth(name, 'backbone.')

    assert depth('backbone.stem.3.weight') == (0, 7)
    assert depth('backbone.stages.1.1.norm1.weight') == (3, 7)
    assert depth('backbone.downsamples.0.conv.weight') == (2, 7)
    assert depth('backbone.norm1.bias') == (3, 7)
    assert depth('backbone.downsamples.1.norm.weight') == (4, 7)
    assert depth('head.weight') == (6, 7)


def test_stages_that_are_not_built_count_for_nothing():
    backbone = CASViT(TINY_ARCH, out_indices=(1,))
    assert backbone.get_layer_depth('norm1.weight') == (2, 4)


@pytest.mark.parametrize('rate', [None, 0, -0.5, 1.5])
def test_a_rate_outside_0_and_1_is_refused(tiny, rate):
    with pytest.raises(InputError, match=rf'above 0 and at most 1, got {rate}'):
        settings(tiny, layer_decay_rate=rate)


def test_a_backbone_that_does_not_know_its_layers_is_named():
    with pytest.raises(InputError, match=r'Tiny, Linear, has no get_layer_depth'):
        settings(Tiny(nn.Linear(3, 20)), layer_decay_rate=0.5)
