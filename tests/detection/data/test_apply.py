from pathlib import Path

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
from detection_data import MASK, RETINA
from mmdet.registry import DATASETS

import casvit_mm.detection  # noqa: F401  registers the dataset
from casvit_mm import InputError
from casvit_mm.datasets.shapes import CLASSES, generate_shapes
from casvit_mm.detection.data.apply import apply_splits
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset


def prepare(description: Path, splits=('train', 'val', 'test'), masks=True, classes=None):
    """The prepared splits of a description; written to prepared/ beside it."""
    data = read_dataset(description)
    return prepare_dataset(data, splits, description.parent / 'prepared', masks, classes)


def put_into(cfg: Config, description: Path, splits=('train', 'val', 'test'), classes=None) -> None:
    prepared = prepare(description, splits, classes=classes)
    apply_splits(cfg, read_dataset(description), prepared, classes)


@pytest.fixture
def folder(tmp_path):
    return generate_shapes(tmp_path, sizes=(4, 3, 2), side=64, seed=3).parent


@pytest.mark.parametrize('config', [MASK, RETINA])
def test_classes_paths_heads_and_evaluators_follow_from_the_data(folder, config):
    (folder / 'dataset.yaml').write_text((folder / 'dataset.yaml').read_text() + 'max_dets: 300\n')
    cfg = Config.fromfile(config)
    put_into(cfg, folder / 'dataset.yaml')
    head = cfg.model.roi_head.bbox_head if config == MASK else cfg.model.bbox_head
    assert head.num_classes == 3
    if config == MASK:
        assert cfg.model.roi_head.mask_head.num_classes == 3
    limit = cfg.model.test_cfg.rcnn if config == MASK else cfg.model.test_cfg
    assert limit.max_per_img == cfg.test_evaluator.max_dets == cfg.val_evaluator.max_dets == 300
    assert cfg.test_evaluator.ann_file == str(folder / 'prepared/test.json')
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        assert dataset.metainfo['classes'] == CLASSES
        assert len(dataset) == dict(train=4, val=3, test=2)[split]
        assert Path(dataset[0]['data_samples'].img_path).is_file()


def test_a_trained_models_order_of_classes_is_kept(folder):
    cfg = Config.fromfile(MASK)
    trained = ('triangle', 'circle', 'square')
    put_into(cfg, folder / 'dataset.yaml', ('test',), trained)
    assert cfg.test_dataloader.dataset.metainfo.classes == trained
    other = ('circle', 'square', 'hexagon')
    with pytest.raises(InputError, match=r"disagree on the categories \['hexagon', 'triangle'\]"):
        put_into(cfg, folder / 'dataset.yaml', ('test',), other)


def test_test_falls_back_to_val(folder):
    text = (folder / 'dataset.yaml').read_text()
    (folder / 'two.yaml').write_text(text[: text.index('test:')])
    cfg = Config.fromfile(MASK)
    put_into(cfg, folder / 'two.yaml', ('test',))
    assert cfg.test_evaluator.ann_file == str(folder / 'prepared/val.json')
