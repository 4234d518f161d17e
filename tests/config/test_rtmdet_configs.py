"""RTMDet with CAS-ViT: mmdet's recipe but for what is listed here, and models that learn by it."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers import ROOT, TINY_ARCH
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from casvit_mm import ARCHS
from casvit_mm.models import AutoSyncBatchNorm

pytest.importorskip('mmdet')
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules

# Ours, and mmdet's for a backbone of about the same size.
RECIPES = {
    'rtmdet_casvit_xs_coco': 'rtmdet_tiny',
    'rtmdet_casvit_s_coco': 'rtmdet_s',
    'rtmdet_casvit_m_coco': 'rtmdet_m',
    'rtmdet_casvit_t_coco': 'rtmdet_l',
    'rtmdet_ins_casvit_xs_coco': 'rtmdet-ins_tiny',
    'rtmdet_ins_casvit_s_coco': 'rtmdet-ins_s',
}
DIFFERENT = (
    'model.data_preprocessor.mean',
    'model.data_preprocessor.std',
    'model.data_preprocessor.bgr_to_rgb',
    'model.backbone',
    'model.neck.in_channels',
    'model.neck.norm_cfg',
    'model.bbox_head.exp_on_reg',
    'model.bbox_head.norm_cfg',
    'model.bbox_head.type',
    'val_evaluator.type',
    'val_evaluator.proposal_nums',
    'val_evaluator.format_only',
    'val_evaluator.backend_args',
    'test_evaluator.type',
    'test_evaluator.proposal_nums',
    'test_evaluator.format_only',
    'test_evaluator.backend_args',
    'auto_scale_lr.base_batch_size',
    'default_hooks.checkpoint.max_keep_ckpts',
    'default_hooks.checkpoint.save_best',
    'default_hooks.checkpoint.rule',
    'custom_imports',
    'checkpoint',
)
ALL = sorted(path.stem for path in (ROOT / 'configs').glob('rtmdet*.py'))


def load(stem):
    return Config.fromfile(ROOT / 'configs' / f'{stem}.py')


def without_scopes(node: Any) -> Any:
    """Leave out what MMEngine notes in entries that were inherited by name."""
    if isinstance(node, dict):
        return {k: without_scopes(value) for k, value in node.items() if k != '_scope_'}
    return [without_scopes(value) for value in node] if isinstance(node, list) else node


def entries_of(node: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted names of a config's entries, lists whole."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from entries_of(value, f'{name}.{key}' if name else key)
    else:
        yield name, node


def test_every_variant_has_a_config():
    assert {f'rtmdet_casvit_{variant}_coco' for variant in ARCHS} <= {*ALL}
    assert {*RECIPES} <= {*ALL}


@pytest.mark.parametrize('stem', RECIPES)
def test_a_coco_config_is_mmdets_recipe_but_for_what_is_listed(stem, tmp_path):
    path = tmp_path / 'theirs.py'
    path.write_text(f"_base_ = 'mmdet::rtmdet/{RECIPES[stem]}_8xb32-300e_coco.py'")
    ours, theirs = (
        dict(entries_of(without_scopes(cfg.to_dict())))
        for cfg in (load(stem), Config.fromfile(path))
    )
    missing = object()
    different = {
        name
        for name in {*ours, *theirs}
        if ours.get(name, missing) != theirs.get(name, missing) and not name.startswith(DIFFERENT)
    }
    assert different == set()


@pytest.mark.parametrize('stem', RECIPES)
def test_a_coco_config_has_the_backbone_of_its_name(stem):
    cfg = load(stem)
    variant = stem.split('_')[-2]
    assert cfg.model.backbone == dict(
        type='CASViT',
        arch=variant,
        out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint=f'checkpoints/cas-vit-{variant}.pth'),
    )
    assert cfg.model.neck.in_channels == list(ARCHS[variant]['embed_dims'][1:])
    assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size
    assert cfg.train_cfg.max_epochs - cfg.custom_hooks[1].switch_epoch == 20


def test_weights_mean_the_same_boxes_in_every_form():
    stems = [stem for stem in ALL if 'ins' not in stem]
    assert {load(stem).model.bbox_head.exp_on_reg for stem in stems} == {True}


def test_the_36_epoch_form_differs_only_in_its_length():
    long, short = (
        without_scopes(load(f'rtmdet_casvit_xs_coco{end}').to_dict()) for end in ('', '_36e')
    )
    warm_up, cosine = short.pop('param_scheduler')
    assert warm_up == long['param_scheduler'][0]
    full = long.pop('param_scheduler')[1]
    assert cosine['eta_min'] == full['eta_min']
    assert (cosine['begin'], cosine['end'], cosine['T_max']) == (18, 36, 18)
    average, switch = short.pop('custom_hooks')
    assert average == long['custom_hooks'][0]
    assert switch == dict(long.pop('custom_hooks')[1], switch_epoch=30)
    for cfg in (long, short):
        cfg.pop('train_cfg')
        cfg['default_hooks']['checkpoint'].pop('interval')
    assert short == long


def test_the_peer_is_our_light_form_with_rtmdets_backbone(tmp_path):
    peer, ours = (
        without_scopes(load(f'rtmdet_{name}_light').to_dict())
        for name in ('cspnext_tiny', 'casvit_xs')
    )
    path = tmp_path / 'theirs.py'
    path.write_text("_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'")
    theirs = without_scopes(Config.fromfile(path).to_dict())
    theirs['model']['backbone'].pop('init_cfg')
    theirs['model']['backbone']['norm_cfg'] = dict(type='AutoSyncBN')
    assert peer['model']['backbone'] == theirs['model']['backbone']
    for cfg in (peer, ours, theirs):
        cfg['model'].pop('backbone')
    neck = peer['model']['neck']
    assert neck.pop('in_channels') == theirs['model']['neck']['in_channels']
    ours['model']['neck'].pop('in_channels')
    assert peer == ours


@pytest.mark.parametrize('stem', ALL)
def test_one_training_step_reaches_every_parameter(stem):
    cfg = load(stem)
    init_default_scope('mmdet')
    register_all_modules(init_default_scope=False)
    cfg.model.backbone = dict(type='CASViT', arch=dict(**TINY_ARCH), out_indices=(1, 2, 3))
    cfg.model.neck.in_channels = list(TINY_ARCH['embed_dims'][1:])
    model = MODELS.build(cfg.model).train()
    batch = demo_mm_inputs(2, [[3, 64, 64]] * 2, num_classes=80, with_mask='ins' in stem)
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('stem', ALL)
def test_norms_of_neck_and_head_are_synchronised_where_they_can_be(stem):
    cfg = load(stem)
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    norms = [m for part in (model.neck, model.bbox_head) for m in part.modules()]
    norms = [m for m in norms if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, AutoSyncBatchNorm) for norm in norms)
