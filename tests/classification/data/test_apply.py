import pytest
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.prepare import prepare_dataset
from casvit_mm.datasets.shapes import CLASSES

pytest.importorskip('mmpretrain')
from classification_data import build

from casvit_mm.classification import ClassDataset
from casvit_mm.classification.data.apply import apply_splits, check_config

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')]


def config(kind='ImageClassifier'):
    """A config of mmpretrain for a thousand classes, one dataset wrapped."""
    dataset = dict(type='ImageNet', data_root='x', split='train', pipeline=PIPELINE)
    accuracy = dict(type='Accuracy', topk=(1, 5))
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type=kind,
                data_preprocessor=dict(num_classes=1000),
                head=dict(
                    num_classes=1000,
                    topk=(1, 5),
                    loss=dict(type='LabelSmoothLoss', num_classes=1000),
                ),
            ),
            data_preprocessor=dict(num_classes=1000, to_rgb=True),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset)),
            val_dataloader=dict(dataset=dict(dataset, test_mode=True)),
            test_dataloader=dict(dataset=dict(dataset)),
            val_evaluator=accuracy,
            test_evaluator=[accuracy, dict(type='SingleLabelMetric', num_classes=1000)],
        )
    )


def applied(folder, classes=None, cfg=None):
    cfg = cfg or config()
    check_config(cfg)
    splits = ('train', 'val', 'test')
    data = read_dataset(folder / 'dataset.yaml')
    prepared = prepare_dataset(data, splits, folder / 'prepared')
    apply_splits(cfg, data, prepared, classes)
    return cfg, prepared


def test_a_config_reads_the_data_through_its_pipelines_and_wrappers(folder):
    cfg, prepared = applied(folder)
    train = build(cfg.train_dataloader.dataset)
    assert (type(train).__name__, len(train)) == ('RepeatDataset', 12)
    assert cfg.val_dataloader.dataset.test_mode
    for split in ('val', 'test'):
        dataset = build(cfg[f'{split}_dataloader'].dataset)
        assert isinstance(dataset, ClassDataset)
        assert dataset.metainfo['classes'] == CLASSES
        samples = [item['data_samples'] for item in dataset]
        assert [(s.img_path, int(s.gt_label)) for s in samples] == list(prepared[split].images)
        assert dataset[0]['inputs'].shape == (3, 32, 32)
    assert 'casvit_mm.classification' in cfg.custom_imports.imports


def test_the_number_of_classes_is_set_wherever_it_stands(folder):
    cfg, _ = applied(folder)
    assert cfg.model.head.num_classes == cfg.model.head.loss.num_classes == 3
    assert cfg.data_preprocessor.num_classes == cfg.model.data_preprocessor.num_classes == 3
    assert cfg.test_evaluator[1].num_classes == 3


def test_topk_is_capped_at_the_number_of_classes(folder):
    cfg, _ = applied(folder)
    assert cfg.model.head.topk == cfg.val_evaluator.topk == cfg.test_evaluator[0].topk == (1,)


def test_classes_of_a_checkpoint_must_be_those_of_the_data(folder):
    applied(folder, CLASSES)
    with pytest.raises(InputError, match='the same names in another order'):
        applied(folder, CLASSES[::-1])
    with pytest.raises(InputError, match=r"only the data has \['triangle'\], only the .*'star'"):
        applied(folder, ('circle', 'square', 'star'))


def test_weights_for_other_classes_are_refused(folder):
    cfg = config()
    cfg.model.head.loss = dict(type='CrossEntropyLoss', class_weight=list(range(1000)))
    with pytest.raises(InputError, match=r'CrossEntropyLoss .* class_weight for 1000 classes'):
        applied(folder, cfg=cfg)


def test_a_config_of_another_task_is_refused():
    with pytest.raises(InputError, match=r"has a model 'RetinaNet'\. Use a classification config"):
        check_config(config('RetinaNet'))
