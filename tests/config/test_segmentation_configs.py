"""The segmentation configs: the published recipe, and models that build and train from them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from casvit_mm import ARCHS
from casvit_mm.models import AutoSyncBatchNorm

pytest.importorskip('mmseg')
import mmseg
from mmseg.datasets.transforms import ResizeToMultiple
from mmseg.registry import MODELS, TRANSFORMS

SEMFPN = sorted((ROOT / 'configs').glob('semfpn_casvit_*_ade20k.py'))
UPERNET = sorted((ROOT / 'configs').glob('upernet_*_ade20k.py'))
SEGFORMER = sorted((ROOT / 'configs').glob('segformer_*_ade20k.py'))
STEMS = [path.stem for path in (*SEMFPN, *UPERNET, *SEGFORMER)]
FVIT = 'semfpn_fvit_b16_ade20k'
HEADS = ('segformer', 'semfpn')


def load(stem):
    cfg = Config.fromfile(ROOT / 'configs' / f'{stem}.py')
    init_default_scope('mmseg')
    cfg.model.backbone.init_cfg = None
    return cfg


def test_every_announced_combination_has_a_config():
    assert [
        *(f'semfpn_casvit_{variant}_ade20k' for variant in sorted(ARCHS)),
        *(f'upernet_casvit_{variant}_ade20k' for variant in 'ms'),
        *(f'segformer_casvit_{variant}_ade20k' for variant in ('s', 'xs')),
    ] == STEMS


@pytest.mark.parametrize('path', SEMFPN, ids=lambda p: p.stem)
def test_semantic_fpn_is_the_published_recipe(path):
    cfg = Config.fromfile(path)
    variant = path.stem.split('_')[2]
    backbone, head = cfg.model.backbone, cfg.model.decode_head
    assert (backbone.arch, backbone.norm_eval) == (variant, True)
    assert backbone.get('drop_path_rate', 0) == (0.1 if variant in 'mt' else 0)
    assert backbone.init_cfg.checkpoint == f'checkpoints/cas-vit-{variant}.pth'
    assert cfg.model.neck.in_channels == list(ARCHS[variant]['embed_dims'])
    assert (cfg.model.neck.out_channels, head.channels, head.dropout_ratio) == (256, 128, 0.1)
    assert (head.num_classes, head.loss_decode.type) == (150, 'CrossEntropyLoss')
    assert set(cfg.optim_wrapper) == {'type', 'optimizer'}  # no clipping, one rate for all
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=2e-4, weight_decay=1e-4)
    assert cfg.param_scheduler == [
        dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=40000, by_epoch=False)
    ]
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (40000, 4000)
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (4, 32)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert list(steps)[-3:] == ['RandomFlip', 'PhotoMetricDistortion', 'PackSegInputs']
    assert steps['RandomResize'].scale == (2048, 512)
    assert steps['RandomResize'].ratio_range == (0.5, 2.0)
    assert (steps['RandomCrop'].crop_size, steps['RandomCrop'].cat_max_ratio) == ((512, 512), 0.75)


@pytest.mark.parametrize('path', SEGFORMER, ids=lambda p: p.stem)
def test_the_head_of_segformer_is_trained_by_its_own_recipe(path):
    theirs = (Path(mmseg.__path__[0]) / '.mim/configs/segformer').glob('*b0*ade20k*.py')
    cfg, theirs = Config.fromfile(path), Config.fromfile(next(theirs))
    assert cfg.optim_wrapper.optimizer == theirs.optim_wrapper.optimizer
    custom_keys = theirs.optim_wrapper.paramwise_cfg.custom_keys
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.head == custom_keys.head
    assert cfg.param_scheduler == theirs.param_scheduler
    assert cfg.train_cfg.max_iters == theirs.train_cfg.max_iters
    assert cfg.train_dataloader.batch_size == theirs.train_dataloader.batch_size
    assert cfg.model.backbone.drop_path_rate == theirs.model.backbone.drop_path_rate
    assert cfg.model.decode_head.type == theirs.model.decode_head.type
    assert cfg.model.decode_head.in_channels == list(ARCHS[path.stem.split('_')[2]]['embed_dims'])


def test_the_light_configs_differ_in_the_model_alone():
    segformer, semfpn = (load(f'{name}_casvit_xs_light').to_dict() for name in HEADS)
    assert segformer.pop('model')['decode_head']['type'] == 'SegformerHead'
    assert semfpn.pop('model')['decode_head']['type'] == 'FPNHead'
    assert segformer == semfpn


@pytest.mark.parametrize('stem', ['semfpn_casvit_xs_ade20k', 'upernet_casvit_s_ade20k'])
def test_the_learning_rate_ends_at_zero_after_the_last_iteration(stem):
    cfg = load(stem)
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    assert cfg.param_scheduler[-1].eta_min == 0


@pytest.mark.parametrize('stem', [*STEMS, FVIT])
def test_a_segmentor_built_by_hand_gives_every_class_and_trains_on_a_cpu(stem):
    model = MODELS.build(load(stem).model)
    features = model.extract_feat(torch.rand(2, 3, 64, 96))
    logits = model.decode_head(features)
    assert logits.shape == (2, 150, 16, 24)
    logits.mean().backward()
    assert model.decode_head.conv_seg.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('size', [(683, 512), (512, 683), (333, 500), (96, 2000), (512, 512)])
def test_test_images_get_the_sizes_of_the_published_align_resize(size):
    """Keep the ratio within (2048, 512), then each side up to a multiple of 32."""
    height, width = size
    short, long = sorted(size)
    scale = min(2048 / long, 512 / short)
    expected = [int(np.ceil(int(side * scale + 0.5) / 32)) * 32 for side in size]

    resize, align = load('semfpn_casvit_xs_ade20k').test_dataloader.dataset.pipeline[1:3]
    assert align.type == ResizeToMultiple.__name__
    results = dict(img=np.zeros((height, width, 3), np.uint8))
    for step in (resize, align):
        results = TRANSFORMS.build(step)(results)
    assert list(results['img'].shape[:2]) == expected
    assert list(results['img_shape']) == expected


def test_every_norm_of_the_heads_is_one_that_synchronises_itself():
    model = MODELS.build(load('upernet_casvit_s_ade20k').model)
    heads = [m for name, m in model.named_modules() if 'head' in name]
    norms = [m for m in heads if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, AutoSyncBatchNorm) for norm in norms)


@pytest.mark.parametrize('forward', [AutoSyncBatchNorm.forward, nn.SyncBatchNorm.forward])
def test_on_one_device_the_norm_is_plain_batch_norm(forward):
    """SyncBatchNorm's own code, which runs on several GPUs, finds all it needs in our class."""
    torch.manual_seed(0)
    values = torch.randn(4, 8, 5, 5)
    plain, ours = nn.BatchNorm2d(8), AutoSyncBatchNorm(8)
    assert torch.equal(forward(ours, values), plain(values))
    assert torch.equal(ours.running_var, plain.running_var)
    assert list(ours.state_dict()) == list(plain.state_dict())


def test_the_norm_is_synchronised_on_gpus_of_several_processes_only(monkeypatch):
    called = []
    monkeypatch.setattr(nn.SyncBatchNorm, 'forward', lambda self, input: called.append(input))
    norm, on_cpu = AutoSyncBatchNorm(8), torch.randn(4, 8, 5, 5)
    on_gpu = SimpleNamespace(device=torch.device('cuda'))
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    norm(on_cpu)
    assert not called
    norm(on_gpu)
    assert called == [on_gpu]
