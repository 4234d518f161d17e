"""The classification recipes, and the rate that belongs to a batch."""

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope

from casvit_mm import ARCHS, InputError

pytest.importorskip('mmpretrain')
from mmpretrain.registry import MODELS, TRANSFORMS

from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.schedule import scale_learning_rate

CONFIGS = ROOT / 'configs'
PRETRAINING = [CONFIGS / f'casvit_{variant}_imagenet.py' for variant in ARCHS]
FINETUNING = [CONFIGS / f'casvit_{variant}_imagenet_ft384.py' for variant in ARCHS]
SIZES = (160, 192, 224, 256, 288, 320)


def load(path) -> Config:
    init_default_scope('mmpretrain')
    return Config.fromfile(path)


def step(pipeline: list, kind: str) -> dict:
    return next(step for step in pipeline if step['type'] == kind)


@pytest.mark.parametrize('path', PRETRAINING, ids=lambda p: p.stem)
def test_pretraining_is_the_published_recipe(path):
    cfg = load(path)
    variant = path.stem.split('_')[1]
    assert (cfg.model.backbone.arch, cfg.model.backbone.drop_path_rate) == (variant, 0.1)
    assert cfg.model.head.in_channels == ARCHS[variant]['embed_dims'][3]
    assert cfg.model.head.loss == dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    )
    assert 'augments' not in (cfg.model.get('train_cfg') or {})
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    assert wrapper.optimizer == dict(type='AdamW', lr=6e-3, weight_decay=0.05)
    assert wrapper.paramwise_cfg == dict(norm_decay_mult=0.0, bias_decay_mult=0.0)
    total = 8 * cfg.train_dataloader.batch_size * wrapper.accumulative_counts
    assert total == cfg.auto_scale_lr.base_batch_size == 2048
    assert cfg.auto_scale_lr.enable
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.start_factor, warm_up.end) == (1e-6, 20)
    assert (cosine.begin, cosine.end, cosine.T_max, cosine.eta_min) == (20, 300, 280, 1e-6)
    assert cfg.train_cfg.max_epochs == 300
    (average,) = cfg.custom_hooks
    assert average == dict(type='OptimizerStepEMAHook', momentum=0.0005)
    batches = cfg.train_dataloader.batch_sampler
    assert (tuple(batches.sizes), batches.base_size) == (SIZES, 224)
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline
    crop = step(train, 'MultiScaleRandomResizedCrop')
    assert (crop.scale, crop.backend, crop.interpolation) == (224, 'pillow', 'bicubic')
    assert step(train, 'TimmRandAugment').policy == 'rand-m9-mstd0.5-inc1'
    assert not [s for s in train if 'Erasing' in s['type']]
    assert step(test, 'ResizeEdge').scale == 256
    assert step(test, 'CenterCrop').crop_size == 224


@pytest.mark.parametrize('path', FINETUNING, ids=lambda p: p.stem)
def test_finetuning_is_the_published_recipe(path):
    cfg = load(path)
    variant = path.stem.split('_')[1]
    assert cfg.load_from == f'checkpoints/cas-vit-{variant}.pth'
    assert (cfg.model.backbone.arch, cfg.model.backbone.drop_path_rate) == (variant, 0.0)
    assert cfg.optim_wrapper.optimizer.lr == 5e-5
    total = 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts
    assert (cfg.train_dataloader.batch_size, total) == (64, cfg.auto_scale_lr.base_batch_size)
    (warm_up,) = cfg.param_scheduler  # and then held
    assert (warm_up.type, warm_up.end, cfg.train_cfg.max_epochs) == ('LinearLR', 20, 30)
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline
    assert step(train, 'MultiScaleRandomResizedCrop').scale == 384
    assert tuple(step(test, 'Resize').scale) == (384, 384)
    assert not [s for s in test if s['type'] in ('ResizeEdge', 'CenterCrop')]
    batches = cfg.train_dataloader.batch_sampler
    assert (tuple(batches.sizes), batches.base_size) == ((160, 192, 256, 288, 320, 384), 384)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('casvit_*.py')), ids=lambda p: p.stem)
def test_config_builds_and_classifies(path):
    cfg = load(path)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 96)).shape == (1, 1000)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)


def recipe(**optim_wrapper) -> Config:
    return Config(
        dict(
            optim_wrapper=dict(optimizer=dict(lr=6e-3), **optim_wrapper),
            train_dataloader=dict(batch_size=32),
            auto_scale_lr=dict(enable=True, base_batch_size=2048),
        )
    )


def test_the_rate_is_scaled_by_the_images_per_step_accumulation_included_and_said():
    cfg = recipe(accumulative_counts=4)
    notes = scale_learning_rate(cfg, TrainOptions())
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(6e-3 * 128 / 2048)
    assert '128 images per step' in notes[0]
    assert 'instead of 2048' in notes[0]
    assert not cfg.auto_scale_lr.enable  # MMEngine does not scale it again


def test_the_rate_of_the_recipes_own_batch_is_left_alone():
    cfg = recipe(accumulative_counts=64)
    notes = scale_learning_rate(cfg, TrainOptions())
    assert (cfg.optim_wrapper.optimizer.lr, notes) == (6e-3, [])


def test_a_rate_by_option_that_would_be_scaled_unasked_is_refused_with_both_cures():
    options = {'optim_wrapper.optimizer.lr': 1e-3}
    with pytest.raises(InputError, match=r'(?s)base_batch_size=32 .*base_batch_size=2048'):
        scale_learning_rate(recipe(), TrainOptions(cfg_options=options))


def test_a_rate_by_option_that_names_its_batch_is_taken():
    cfg = recipe()
    cfg.optim_wrapper.optimizer.lr = 1e-3
    cfg.auto_scale_lr.base_batch_size = 32
    options = {'optim_wrapper.optimizer.lr': 1e-3, 'auto_scale_lr.base_batch_size': 32}
    scale_learning_rate(cfg, TrainOptions(cfg_options=options))
    assert cfg.optim_wrapper.optimizer.lr == 1e-3


def test_scaling_without_a_known_batch_is_refused():
    cfg = recipe()
    cfg.pop('auto_scale_lr')
    with pytest.raises(InputError, match='base_batch_size'):
        scale_learning_rate(cfg, TrainOptions(auto_scale_lr=True))
