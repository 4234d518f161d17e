"""Datasets that a config names itself, and how training reads them."""

import copy
import json
from dataclasses import replace

import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
from detection_data import edit
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.detection import task
from casvit_mm.detection.data import config_datasets
from casvit_mm.detection.dataset import NamedCocoDataset
from casvit_mm.detection.task import check_datasets


@pytest.fixture
def cfg(folder, tmp_path):
    """A published config that names the files of the generated set."""
    cfg = Config.fromfile(ROOT / 'configs/maskrcnn_casvit_xs_coco.py')
    own = dict(data_root=f'{folder}/', metainfo=dict(classes=CLASSES))
    for split in ('train', 'val'):
        names = dict(ann_file=f'{split}.json', data_prefix=dict(img=f'{split}/'))
        cfg[f'{split}_dataloader'].dataset.update(**own, **names, pipeline=[])
    cfg.work_dir = str(tmp_path / 'work')
    init_default_scope('mmdet')
    return cfg


def built(cfg, split='train'):
    return DATASETS.build(copy.deepcopy(cfg[f'{split}_dataloader'].dataset))


def infos(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def test_training_reads_the_same_images_without_holding_all(cfg, monkeypatch):
    whole = built(cfg)
    assert type(whole) is CocoDataset
    assert check_datasets(cfg, ('train', 'val')) == dict(train=24, val=6)
    monkeypatch.setattr(NamedCocoDataset, 'load_data_list', None)  # reads the whole file
    by_image = built(cfg)
    assert infos(by_image) == infos(whole)
    assert by_image.metainfo == whole.metainfo
    assert type(built(cfg, 'val')) is CocoDataset


def test_several_datasets_of_train_have_a_copy_each(cfg, folder):
    first = cfg.train_dataloader.dataset
    second = dict(copy.deepcopy(first), ann_file='val.json', data_prefix=dict(img='val/'))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, second])
    whole = built(cfg)
    check_datasets(cfg, ('train',))
    assert [type(each) for each in built(cfg).datasets] == 2 * [NamedCocoDataset]
    assert infos(built(cfg)) == infos(whole)


def test_labels_that_mmdet_numbers_by_the_file_stay_so(cfg, folder):
    edit(folder, lambda content: content['categories'].reverse())
    whole = infos(built(cfg))
    check_datasets(cfg, ('train', 'val'))
    assert type(built(cfg)) is CocoDataset
    assert infos(built(cfg)) == whole


def test_what_a_run_before_left_on_another_host_is_not_taken(cfg, folder, monkeypatch):
    check_datasets(cfg, ('train',))
    cfg.train_dataloader.dataset.update(type='CocoDataset', ann_file='train.json')
    states = config_datasets.check_datasets(cfg, ('train',))
    old = replace(states, copies=dict.fromkeys(states.copies, (1, 2, 3)))
    monkeypatch.setattr(task, 'on_first_rank', lambda work: old)  # rank 0 is elsewhere
    check_datasets(cfg, ('train',))
    assert type(built(cfg)) is CocoDataset
    monkeypatch.setattr(task, 'on_first_rank', lambda work: states)
    check_datasets(cfg, ('train',))
    assert type(built(cfg)) is NamedCocoDataset


def test_the_users_own_file_stays_and_an_evaluation_copies_nothing(cfg, folder, tmp_path):
    before = (folder / 'train.json').read_bytes()
    check_datasets(cfg, ('val',))
    assert not (tmp_path / 'work').exists()
    check_datasets(cfg, ('train',))
    assert (folder / 'train.json').read_bytes() == before
    made = json.loads((tmp_path / 'work/annotations/train.json').read_text())
    assert len(made['images']) == 24
