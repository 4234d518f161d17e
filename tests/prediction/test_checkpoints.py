"""A checkpoint as a function of images."""

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
from casvit_mm.prediction.checkpoints import CheckpointModel


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
    copied = CheckpointModel(model[1], tmp_path / 'copied.py', score_thr=0.05, device='cpu')
    assert copied(pixels).rows() == predictor(pixels).rows()


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
    retina = CheckpointModel(
        tmp_path / 'retina.pth',
        tmp_path / 'retina.py',
        score_thr=0.0,
        device='cpu',
        cfg_options=small,
    )
    found = retina(pixels)
    assert len(found.boxes) == retina.max_dets == 100
    assert found.masks is None
    assert set(found.names) <= set(retina.classes)
    assert len(retina.classes) == 80


def test_the_threshold_replaces_the_configs(model, pixels):
    counts = [
        len(
            CheckpointModel(*reversed(model), score_thr=score_thr, max_dets=300, device='cpu')(
                pixels
            ).boxes
        )
        for score_thr in (0.0, 0.05, 0.5)  # 0.05 is the config's
    ]
    assert counts[0] > counts[1] > counts[2] > 0


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    path = edited_checkpoint(
        model, tmp_path / 'c.pth', lambda c: c['state_dict'].pop('neck.fpn_convs.0.conv.weight')
    )
    with pytest.raises(InputError, match=r'(?s)\d+/\d+ keys matched.*missing: neck\.fpn_convs\.0'):
        CheckpointModel(path, model[0])


def test_a_pipeline_that_reads_images_in_its_own_way_is_refused(model):
    options = {'test_dataloader.dataset.pipeline.0.color_type': 'grayscale'}
    with pytest.raises(InputError, match=r"'grayscale'.*color_type='color' only"):
        CheckpointModel(*reversed(model), cfg_options=options)


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds(model, predictor, pixels, gpu):
    ours = CheckpointModel(*reversed(model), score_thr=0.05, device=gpu)(pixels)
    np.testing.assert_allclose(ours.scores, predictor(pixels).scores, atol=1e-3)
