"""A trained detector as a function of images."""

import numpy as np
import pytest
import torch
from helpers import ROOT, TINY_ARCH

pytest.importorskip('mmdet')
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prediction_runs import edited_checkpoint

from casvit_mm import InputError
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.detection.prediction.drawing import draw_detections
from casvit_mm.detection.prediction.predictor import Predictor


def test_heads_follow_from_the_classes_of_the_checkpoint(model, predictor):
    assert Config.fromfile(model[0]).model.roi_head.bbox_head.num_classes == 80
    assert predictor.classes == CLASSES


def test_a_config_from_a_work_dir_needs_neither_data_nor_pretrained_weights(
    model, predictor, pixels, tmp_path
):
    cfg = Config.fromfile(model[0])
    cfg.test_dataloader.dataset.update(
        type='NamedCocoDataset', ann_file='/gone/a.json', metainfo=dict(classes=CLASSES)
    )
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='/gone/w.pth')
    cfg.dump(tmp_path / 'copied.py')
    copied = Predictor(tmp_path / 'copied.py', model[1], score_thr=0.05, device='cpu')
    assert copied(pixels) == predictor(pixels)


def test_a_detector_without_masks_gives_boxes(pixels, tmp_path):
    (tmp_path / 'retina.py').write_text(
        f"""_base_ = {str(ROOT / 'configs/retinanet_casvit_xs_coco.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'][1:])}),
)
"""
    )
    cfg = Config.fromfile(tmp_path / 'retina.py')
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'retina.pth')
    small = {'test_dataloader.dataset.pipeline.1.scale': (64, 64)}
    retina = Predictor(
        tmp_path / 'retina.py',
        tmp_path / 'retina.pth',
        score_thr=0.0,
        device='cpu',
        cfg_options=small,
    )
    objects = retina(pixels)
    assert len(objects) == retina.max_dets == 100
    assert set(objects[0]) == {'class', 'score', 'bbox'}
    assert objects[0]['class'] in retina.classes
    assert len(retina.classes) == 80


def test_the_threshold_replaces_the_configs(model, pixels):
    counts = [
        len(Predictor(*model, score_thr=score_thr, max_dets=300, device='cpu')(pixels))
        for score_thr in (0.0, 0.05, 0.5)  # 0.05 is the config's
    ]
    assert counts[0] > counts[1] > counts[2] > 0


def test_objects_do_not_depend_on_the_batch(predictor, pixels):
    images = [pixels, pixels[::-1].copy(), pixels[:, :40].copy(), pixels]
    alone = [predictor(image) for image in images]
    together = [found for *_, found in predictor.stream(enumerate(images), batch_size=4)]
    for ours, theirs in zip(together, alone):
        assert [o['class'] for o in ours] == [o['class'] for o in theirs]
        np.testing.assert_allclose(
            [o['bbox'] for o in ours], [o['bbox'] for o in theirs], atol=0.02
        )


@pytest.mark.parametrize('size', [(1, 1), (1000, 3), (3, 1000), (1, 700), (37, 5)])
def test_any_size_goes_through(predictor, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for found in predictor(image):
        x, y, w, h = found['bbox']
        assert x >= 0 <= y
        assert x + w <= size[1] + 0.01
        assert y + h <= size[0] + 0.01
        assert found['segmentation']['size'] == list(size)
    assert draw_detections(image, predictor(image), CLASSES).ndim == 3


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    path = edited_checkpoint(
        model, tmp_path / 'c.pth', lambda c: c['state_dict'].pop('neck.fpn_convs.0.conv.weight')
    )
    with pytest.raises(InputError, match=r'(?s)\d+/\d+ keys matched.*missing: neck\.fpn_convs\.0'):
        Predictor(model[0], path)


def test_a_pipeline_that_reads_images_in_its_own_way_is_refused(model):
    options = {'test_dataloader.dataset.pipeline.0.color_type': 'grayscale'}
    with pytest.raises(InputError, match=r"'grayscale'.*color_type='color' only"):
        Predictor(*model, cfg_options=options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_finds_what_the_cpu_finds(model, predictor, pixels):
    ours = Predictor(*model, score_thr=0.05)(pixels)
    theirs = predictor(pixels)
    np.testing.assert_allclose([o['score'] for o in ours], [o['score'] for o in theirs], atol=1e-3)
