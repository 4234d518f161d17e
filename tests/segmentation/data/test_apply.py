from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.prepare import prepare_dataset

pytest.importorskip('mmseg')
from segmentation_data import build

from casvit_mm.segmentation import LabelDataset
from casvit_mm.segmentation.data.apply import apply_splits, check_config

UPSTREAM = 'mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py'
CITYSCAPES = 'mmseg::bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py'


def load(name):
    path = Path(__import__('mmseg').__file__).parent / '.mim/configs' / name.split('::')[1]
    return Config.fromfile(path)


@pytest.mark.parametrize('name', [UPSTREAM, CITYSCAPES])
def test_any_config_of_mmseg_reads_the_data(folder, name):
    cfg = load(name)
    check_config(cfg)
    splits = ('train', 'val', 'test')
    prepared = prepare_dataset(read_dataset(folder / 'dataset.yaml'), splits, folder / 'p')
    apply_splits(cfg, read_dataset(folder / 'dataset.yaml'), prepared)
    heads = cfg.model.auxiliary_head
    for head in [cfg.model.decode_head, *(heads if isinstance(heads, list) else [heads])]:
        assert head.num_classes == 4
    assert 'casvit_mm.segmentation' in cfg.custom_imports.imports
    for split, count in dict(train=4, val=3, test=2).items():
        dataset = build(cfg[f'{split}_dataloader'].dataset)
        assert isinstance(dataset, LabelDataset)
        assert dataset.metainfo['classes'] == ('ground', *CLASSES)
        assert dataset.metainfo['palette'][1] == [230, 70, 60]
        assert len(dataset) == count
        label = dataset[0]['data_samples'].gt_sem_seg.data
        assert set(np.unique(label)) <= {0, 1, 2, 3, 255}


def test_a_config_survives_being_written_and_read(folder):
    cfg = load(UPSTREAM)
    data = read_dataset(folder / 'dataset.yaml')
    apply_splits(cfg, data, prepare_dataset(data, ('train',), folder / 'p'))
    cfg.dump(folder / 'copy.py')
    dataset = build(Config.fromfile(folder / 'copy.py').train_dataloader.dataset)
    assert dataset.metainfo['palette'] == [list(colour) for colour in data.palette]


def test_classes_of_a_checkpoint_must_be_those_of_the_data(folder):
    cfg = load(UPSTREAM)
    data = read_dataset(folder / 'dataset.yaml')
    prepared = prepare_dataset(data, ('test',), folder / 'p')
    apply_splits(cfg, data, prepared, data.classes)
    with pytest.raises(InputError, match='the same names in another order'):
        apply_splits(cfg, data, prepared, data.classes[::-1])
    with pytest.raises(InputError, match=r"only the data has \['triangle'\], only the .*'star'"):
        apply_splits(cfg, data, prepared, ('ground', 'circle', 'square', 'star'))


def test_weights_for_other_classes_are_refused(folder):
    cfg = load(UPSTREAM)
    cfg.model.decode_head.loss_decode.class_weight = list(range(150))
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r'CrossEntropyLoss .* class_weight for 150 classes'):
        apply_splits(cfg, data, prepare_dataset(data, ('train',), folder / 'p'))


def test_a_config_of_another_task_is_refused():
    detection = Config(dict(model=dict(type='RetinaNet')))
    with pytest.raises(InputError, match=r"has a model 'RetinaNet'\. Use a segmentation config"):
        check_config(detection)
