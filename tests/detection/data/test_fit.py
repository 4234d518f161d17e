import dataclasses

import numpy as np
import pytest

pytest.importorskip('mmdet')
from detection_data import RETINA, edit, inspect, load_config
from mmengine.config import DictAction

from casvit_mm.datasets.fit import scale_factors
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.fit import describe_anchors, detection_fit
from casvit_mm.detection.data.statistics import describe_split


def advise(inspection, cfg):
    splits = {n: describe_split(o, ()) for n, o in inspection.objects.items()}
    return detection_fit('c.py', cfg, inspection, splits).advice


def test_advice_on_the_scale_can_be_given_as_options(folder):
    def change(content):
        for image in content['images']:
            image.update(width=4000, height=4000)
        for annotation in content['annotations']:
            annotation.update(bbox=[10, 10, 60, 60], area=3600)

    edit(folder, change)
    inspection = inspect(folder, with_masks=False)
    cfg = load_config(RETINA)
    (advice,) = [text for text in advise(inspection, cfg) if 'A tenth of' in text]
    options = dict(o.split('=', 1) for o in advice.partition('--cfg-options ')[2].split())
    cfg.merge_from_dict({k: DictAction._parse_iterable(v.strip('"')) for k, v in options.items()})
    pipelines = [cfg[f'{s}_dataloader'].dataset.pipeline for s in ('train', 'val', 'test')]
    scales = {tuple(step.scale) for p in pipelines for step in p if step.type == 'Resize'}
    assert scales == {(1792, 1088)}
    small = 60 * scale_factors(np.array([[4000, 4000]]), (1792, 1088))
    assert small == pytest.approx(16.3, abs=0.1)


def test_a_limit_below_the_fullest_image_is_told(folder):
    data = dataclasses.replace(read_dataset(folder / 'dataset.yaml'), max_dets=3)
    inspection = inspect_dataset(data, False)
    advice = advise(inspection, load_config(RETINA))
    assert any('more than max_dets: 3. Put "max_dets: 50"' in line for line in advice)


def test_a_crop_that_shows_objects_in_part_is_told_with_a_larger_one(folder):
    inspection = inspect(folder, with_masks=False)
    train = inspection.objects['train']
    cfg = load_config(RETINA)
    scale = next(step.scale for step in cfg.train_dataloader.dataset.pipeline if 'scale' in step)
    assert 'crop_size' not in describe_anchors(cfg, train)
    sides = train.box[train.learnt()][:, 2:].max(axis=1) * min(scale) / 64
    crop = dict(type='RandomCrop', crop_size=(int(np.median(sides)), int(np.median(sides))))
    cfg.train_dataloader.dataset.pipeline.insert(3, crop)
    fit = describe_anchors(cfg, train)
    assert fit['larger_than_crop'] == pytest.approx((sides > crop['crop_size'][0]).mean(), abs=1e-3)
    (advice,) = [text for text in advise(inspection, cfg) if 'that training crops' in text]
    wanted = int(advice.rpartition(',')[2].rstrip(')"'))
    assert wanted >= np.percentile(sides, 98)
    assert '--cfg-options train_dataloader.dataset.pipeline.3.crop_size="(' in advice
