import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, slow_if_large
from mmengine.config import Config
from mmengine.registry import init_default_scope

from casvit_mm import ARCHS

pytest.importorskip('mmdet')
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

COCO = sorted(
    path
    for kind in ('maskrcnn', 'retinanet')
    for path in (ROOT / 'configs').glob(f'{kind}_casvit_*_coco.py')
)
ALL = sorted(
    path
    for kind in ('maskrcnn', 'retinanet', 'rtmdet')
    for path in (ROOT / 'configs').glob(f'{kind}_*.py')
)
PEERS = sorted(
    path for path in (ROOT / 'configs').glob('maskrcnn_*_light.py') if 'casvit' not in path.stem
)


def load(path: Path) -> Config:
    cfg = Config.fromfile(path)
    init_default_scope('mmdet')
    return cfg


def test_every_published_combination_has_a_config():
    expected = {f'{m}_casvit_{v}_coco' for m in ('maskrcnn', 'retinanet') for v in ARCHS}
    assert {path.stem for path in COCO} == expected


@pytest.mark.parametrize('path', slow_if_large(ALL), ids=lambda p: p.stem)
def test_config_builds_and_every_level_has_its_anchor_stride(path):
    cfg = load(path)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        levels = model.extract_feat(torch.rand(1, 3, 256, 320))
    head = model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
    strides = [stride[0] for stride in head.prior_generator.strides]
    assert [level.shape[2] for level in levels] == [256 // stride for stride in strides]


@pytest.mark.parametrize('path', COCO, ids=lambda p: p.stem)
def test_coco_config_is_the_published_recipe(path):
    cfg = load(path)
    variant = path.stem.split('_')[2]
    backbone = cfg.model.backbone
    channels = list(ARCHS[variant]['embed_dims'])
    assert backbone.arch == variant
    assert backbone.norm_eval
    assert backbone.get('drop_path_rate', 0) == (0.1 if variant in 'mt' else 0)
    assert backbone.init_cfg.checkpoint == f'checkpoints/cas-vit-{variant}.pth'
    if path.stem.startswith('retinanet'):
        assert cfg.model.neck.start_level == 0
        assert cfg.model.neck.add_extra_convs == 'on_input'
        channels = channels[1:]
    assert cfg.model.neck.in_channels == channels
    assert set(cfg.optim_wrapper) - {'_scope_'} == {'type', 'optimizer'}  # no clipping
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=2e-4, weight_decay=1e-4)
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.start_factor, warm_up.end, warm_up.by_epoch) == (1e-6, 500, False)
    assert (steps.milestones, steps.gamma) == ([8, 11], 0.1)
    assert cfg.train_cfg.max_epochs == 12
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.auto_scale_lr.base_batch_size == 32
    for pipeline in (cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline):
        assert [t.scale for t in pipeline if t.type == 'Resize'] == [(1333, 800)]
    assert cfg.model.data_preprocessor.pad_size_divisor == 32
    assert cfg.test_evaluator.type == cfg.val_evaluator.type == 'CocoAP'


def test_the_light_config_differs_from_coco_only_in_width_size_and_schedule():
    light, coco = (load(ROOT / f'configs/maskrcnn_casvit_xs_{n}.py') for n in ('light', 'coco'))
    assert light.model.backbone == coco.model.backbone
    assert light.model.roi_head.mask_head.num_convs == coco.model.roi_head.mask_head.num_convs


@pytest.mark.parametrize('path', PEERS, ids=lambda p: p.stem)
def test_a_peer_backbone_has_the_configured_channels_at_strides_4_to_32(path):
    cfg = load(path)
    backbone = MODELS.build(cfg.model.backbone)
    levels = backbone(torch.rand(2, 3, 128, 160))
    assert [level.shape[1] for level in levels] == cfg.model.neck.in_channels
    assert [128 // level.shape[2] for level in levels] == [4, 8, 16, 32]


@pytest.mark.parametrize('path', PEERS, ids=lambda p: p.stem)
def test_a_peer_backbone_starts_untrained_with_every_parameter_and_norm_learning(path):
    backbone = MODELS.build(load(path).model.backbone)
    backbone.train()
    sum(level.square().sum() for level in backbone(torch.rand(2, 3, 64, 96))).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.num_batches_tracked == 1 for norm in norms)


@pytest.mark.parametrize('path', PEERS, ids=lambda p: p.stem)
def test_a_peer_config_differs_from_ours_only_in_the_backbone(path):
    peer, ours = (load(p).to_dict() for p in (path, ROOT / 'configs/maskrcnn_casvit_xs_light.py'))
    for cfg in (peer, ours):
        cfg.pop('custom_imports')
        cfg['model'].pop('backbone')
        cfg['model']['neck'].pop('in_channels')
    assert peer == ours


PHOTOS = sorted((ROOT / 'configs').glob('*_photos.py'))


@pytest.mark.parametrize('path', PHOTOS, ids=lambda p: p.stem)
def test_a_recipe_for_photographs_differs_from_the_light_one_in_its_pictures(path):
    light = path.with_name(path.name.replace('photos', 'light'))
    photos, light = (load(p).to_dict() for p in (path, light))
    for cfg in (photos, light):
        for split in ('train', 'val', 'test'):
            cfg[f'{split}_dataloader']['dataset'].pop('pipeline')
        if path.stem.startswith('maskrcnn'):  # larger objects
            cfg['model']['rpn_head'].pop('anchor_generator')
            for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
                cfg['model']['roi_head'].pop(name)
    assert light == {key: value for key, value in photos.items() if not key.startswith('photo_')}


@pytest.mark.parametrize('path', PHOTOS, ids=lambda p: p.stem)
def test_a_photograph_keeps_its_up_and_its_colours(path):
    cfg = load(path)
    steps = [step for step in cfg.train_dataloader.dataset.pipeline if 'Load' not in step.type]
    rows, columns = np.mgrid[:480, :640]
    image = np.stack([60 + 0 * rows, 60 + rows // 4, 200 + 0 * columns], 2).astype(np.uint8)
    boxes = HorizontalBoxes(np.array([[100, 100, 300, 300]], np.float32))
    extra = {}
    if path.stem.startswith(('maskrcnn', 'rtmdet_ins')):
        extra['gt_masks'] = BitmapMasks(np.ones((1, 480, 640), np.uint8), 480, 640)
    pipeline = Compose(steps[:-1])
    for seed in range(8):
        np.random.seed(seed)
        found = pipeline(
            dict(
                img=image.copy(),
                img_shape=(480, 640),
                gt_bboxes=boxes.clone(),
                gt_bboxes_labels=np.zeros(1, np.int64),
                gt_ignore_flags=np.zeros(1, bool),
                **copy.deepcopy(extra),
            )
        )
        pixels = found['img'].astype(int).mean(1)  # of each row
        assert (np.diff(pixels[:, 1]) >= -1).all()  # greener to the bottom
        assert (pixels[:, 2] > pixels[:, 1]).all()
        assert (pixels[:, 1] > pixels[:, 0] - 40).all()
        assert min(found['img'].shape[:2]) >= 340
