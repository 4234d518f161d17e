from pathlib import Path

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
from detection_data import MASK, RETINA, load_config
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.registry import DATASETS, init_default_scope

import casvit_mm.detection  # noqa: F401  registers the dataset
from casvit_mm import InputError
from casvit_mm.datasets.shapes import CLASSES, generate_shapes
from casvit_mm.detection.data.apply import apply_splits, check_config, needs_masks
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


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


@pytest.mark.parametrize('kind', ['CocoMetric', 'mmdet.CocoMetric', CocoMetric])
def test_mmdets_metric_becomes_ours_unless_it_has_settings_of_its_own(folder, kind):
    cfg = load_config(RETINA)
    mmdets = dict(classwise=True, proposal_nums=(100, 1, 10))  # as in its RTMDet
    cfg.val_evaluator = dict(type=kind, ann_file='x.json', metric='bbox', **mmdets)
    cfg.test_evaluator = dict(type=kind, ann_file='x.json', iou_thrs=[0.5])
    put_into(cfg, folder / 'dataset.yaml')
    val, test = (str(folder / f'prepared/{split}.json') for split in ('val', 'test'))
    assert cfg.val_evaluator == dict(type='CocoAP', ann_file=val, metric='bbox', max_dets=100)
    assert cfg.test_evaluator == dict(type=kind, ann_file=test, iou_thrs=[0.5])


def test_the_metric_of_a_config_that_inherits_mmdets_becomes_ours(folder):
    cfg = load_config(RETINA)
    cfg.val_evaluator = dict(type='CocoMetric', _scope_='mmdet', ann_file='x.json', metric='bbox')
    put_into(cfg, folder / 'dataset.yaml')
    assert cfg.val_evaluator.type == 'CocoAP'


def test_a_metric_of_another_gets_only_what_it_takes(folder):
    cfg = load_config(RETINA)
    cfg.test_evaluator = [
        dict(type='DumpDetResults', out_file_path='r.pkl'),
        dict(type='LVISMetric', ann_file='x.json'),
        dict(type='VOCMetric'),
    ]
    put_into(cfg, folder / 'dataset.yaml', ('test',))
    dump, lvis, voc = cfg.test_evaluator
    assert lvis == dict(type='LVISMetric', ann_file=str(folder / 'prepared/test.json'))
    assert dump == dict(type='DumpDetResults', out_file_path='r.pkl')
    assert voc == dict(type='VOCMetric')


def test_without_validation_train_alone_is_read(folder):
    cfg = load_config(RETINA)
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    check_config(cfg, ('train', 'test'))
    assert not needs_masks(cfg)
    put_into(cfg, folder / 'dataset.yaml', ('train', 'test'))
    with pytest.raises(InputError, match='val_dataloader holds no dataset'):
        check_config(cfg)


def test_masks_that_are_learnt_are_needed_though_boxes_alone_are_scored():
    cfg = load_config(MASK)
    assert needs_masks(cfg)
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = 'bbox'
    assert needs_masks(cfg)


VOC = dict(type='VOCDataset', data_root='data/voc/', ann_subdir='Annotations', ann_file='t.txt')


@pytest.mark.parametrize('kind', [VOC, dict(type=CocoDataset, ann_file='x.json')])
def test_joined_and_repeated_datasets_of_any_format_become_one(folder, kind):
    cfg = load_config(RETINA)
    pipeline = cfg.train_dataloader.dataset.pipeline
    inner = [dict(kind, filter_cfg=dict(min_size=8), pipeline=pipeline) for _ in range(2)]
    joined = dict(type='ConcatDataset', datasets=inner)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=joined)
    check_config(cfg, ('train',))
    put_into(cfg, folder / 'dataset.yaml', ('train',))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 12
    assert dataset.dataset.filter_cfg == dict(min_size=8)


@pytest.mark.parametrize('kind', ['CocoPanopticDataset', 'ReIDDataset', 'Nowhere'])
def test_a_config_that_reads_something_other_than_boxes_is_named(kind):
    cfg = load_config(RETINA)
    cfg.val_dataloader.dataset.type = kind
    with pytest.raises(InputError, match=f'val_dataloader of .* reads {kind}'):
        check_config(cfg)
