"""The frameworks' own inferencers and test-time augmentation, with our configs and checkpoints."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import random_image, write_model
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope

import casvit_mm
from casvit_mm.datasets.shapes import CLASSES

GROUND = ('ground', *CLASSES)
IMAGE = random_image(90, 120)
_SEEN = ('img_id', 'img_shape', 'ori_shape', 'scale_factor', 'flip', 'flip_direction')
FLIPS = [dict(type='RandomFlip', prob=p) for p in (0.0, 1.0)]


@pytest.mark.parametrize('kind', ['retinanet', 'maskrcnn'])
def test_mmdets_inferencer_finds_what_ours_finds(tmp_path, kind):
    from mmdet.apis import DetInferencer

    config, checkpoint = write_model(tmp_path, kind)
    inferencer = DetInferencer(config, checkpoint, device='cpu', show_progress=False)
    (found,) = inferencer(IMAGE, no_save_vis=True)['predictions']
    ours = casvit_mm.load(checkpoint, device='cpu', score_thr=0.3)(IMAGE)
    assert len(ours.scores) > 0
    scores = np.array(found['scores'])
    np.testing.assert_allclose(scores[scores >= 0.3], ours.scores, atol=1e-5)
    assert inferencer.model.dataset_meta['classes'] == list(CLASSES)
    assert ('masks' in found) == (kind == 'maskrcnn')


def test_mmsegs_inferencer_gives_the_labels_that_ours_gives(tmp_path):
    from mmseg.apis import MMSegInferencer

    config, checkpoint = write_model(tmp_path, 'segmentation', GROUND)
    inferencer = MMSegInferencer(config, checkpoint, device='cpu')
    labels = inferencer(IMAGE, show=False)['predictions']
    expected = casvit_mm.load(checkpoint, device='cpu')(IMAGE).labels
    assert (labels == expected).mean() > 0.999


def test_mmpretrains_inferencer_gives_the_classes_that_ours_gives(tmp_path):
    from mmpretrain import ImageClassificationInferencer

    config, checkpoint = write_model(tmp_path, 'classification')
    inferencer = ImageClassificationInferencer(config, checkpoint, device='cpu')
    (found,) = inferencer(IMAGE)
    ours = casvit_mm.load(checkpoint, device='cpu')(IMAGE)
    np.testing.assert_allclose(found['pred_scores'][ours.labels], ours.scores, atol=1e-5)
    assert found['pred_class'] == ours.names[0]


@pytest.mark.parametrize(
    ('kind', 'classes', 'wrapper', 'packing'),
    [
        (
            'retinanet',
            CLASSES,
            dict(
                type='DetTTAModel',
                tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
            ),
            dict(
                type='PackDetInputs',
                meta_keys=_SEEN,
            ),
        ),
        ('segmentation', GROUND, dict(type='SegTTAModel'), dict(type='PackSegInputs')),
        (
            'classification',
            CLASSES,
            dict(type='AverageClsScoreTTA'),
            dict(type='PackInputs', meta_keys=('flip',)),
        ),
    ],
)
def test_a_picture_and_its_mirror_image_are_predicted_together(
    tmp_path, kind, classes, wrapper, packing
):
    config, checkpoint = write_model(tmp_path, kind, classes)
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(ConfigDict(wrapper, module=_with_preprocessor(cfg)))
    model.module.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    steps = [s for s in cfg.test_dataloader.dataset.pipeline[1:-1] if 'Load' not in s.type]
    pipeline = Compose([*steps, dict(type='TestTimeAug', transforms=[FLIPS, [packing]])])
    data = pipeline(
        dict(img=IMAGE, img_shape=(90, 120), ori_shape=(90, 120), img_id=0, img_path='photo.png')
    )
    batch = {key: [[one] for one in value] for key, value in data.items()}
    with torch.no_grad():
        (sample,) = model.eval().test_step(batch)
    if kind == 'retinanet':
        assert len(sample.pred_instances.scores) > 0
    elif kind == 'segmentation':
        assert sample.pred_sem_seg.data.shape == (1, 90, 120)
    else:
        assert sample.pred_score.sum() == pytest.approx(1, abs=1e-5)


def _with_preprocessor(cfg: Config) -> ConfigDict:
    model = cfg.model
    if 'data_preprocessor' in cfg:  # mmpretrain's Runner takes it from beside the model
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model
