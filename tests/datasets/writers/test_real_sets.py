"""Real annotations in every format: what a model learns of them, in its first loss.

``python -m pytest -s -m slow tests/datasets/writers/test_real_sets.py`` prints the table.
"""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
from helpers import ROOT
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from casvit_mm.datasets.writers.registry import WRITERS
from casvit_mm.detection.task import apply_dataset
from casvit_mm.engine.convert import convert_data
from casvit_mm.engine.setup import load_config

DATA = Path(os.environ.get('CASVIT_DATA', ROOT.parent / 'shared/data'))
SETS = {
    'bccd': (
        'retinanet_casvit_xs_light.py',
        ''.join(
            f'{split}: {{annotations: Annotations, images: JPEGImages, '
            f'list: ImageSets/Main/{split}.txt}}\n'
            for split in ('train', 'val')
        ),
    ),
    'dsb2018': (
        'maskrcnn_casvit_xs_light.py',
        ''.join(
            f'{split}: {{annotations: derived/instances_val.json, images: images}}\n'
            for split in ('train', 'val')
        ),
    ),
}
EXACT = {'bccd': ('coco', 'voc', 'labelme', 'cvat'), 'dsb2018': ('coco', 'labelme', 'cvat')}
# Shares of YOLO and percents of Label Studio are rounded once.
NEAR = {
    'bccd': {'yolo': 1e-5, 'label-studio': 1e-5},
    'dsb2018': {'yolo': 1e-5, 'label-studio': 1e-5},
}


def first_loss(config, data, work):
    """Return the loss of two images, by name, of an untrained model; everything is seeded."""
    cfg = load_config(str(ROOT / 'configs' / config), ('train',), None, 'none', str(work))
    apply_dataset(cfg, str(data), ('train',))
    cfg.model.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmdet'):
        seed()
        model = MODELS.build(cfg.model).train()
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    inner = dataset
    while hasattr(inner, 'dataset'):
        inner = inner.dataset
    names = {Path(inner.get_data_info(i)['img_path']).stem: i for i in range(len(inner))}
    seed()
    batch = pseudo_collate([inner[names[name]] for name in sorted(names)[:2]])
    with torch.no_grad():
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        return float(model.parse_losses(losses)[0])


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.mark.slow
@pytest.mark.parametrize('name', SETS)
def test_training_begins_alike_in_every_format(tmp_path, name):
    if not (DATA / name).is_dir():
        pytest.skip(f'{DATA / name} is not there')
    config, sources = SETS[name]
    source = tmp_path / 'source.yaml'
    source.write_text(f'root: {DATA / name}\n{sources}')
    wanted = first_loss(config, source, tmp_path / 'work')
    print(f'\n{name}, first loss of {config}: {wanted:.7f}')
    for to in (*EXACT[name], *NEAR[name]):
        assert to in WRITERS
        written = convert_data(source, to, tmp_path / to, link=True)
        difference = first_loss(config, written, tmp_path / f'work_{to}') - wanted
        print(f'{name} as {to}: {difference:+.2e}')
        assert abs(difference) <= NEAR[name].get(to, 0), to
