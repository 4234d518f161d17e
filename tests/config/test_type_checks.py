"""Types that are not registered, and what cannot be built."""

import pytest
from mmengine.registry import HOOKS, MODELS, init_default_scope

from casvit_mm.config.paths import ROOT
from casvit_mm.config.reading import read_config
from casvit_mm.config.type_checks import check_types, explaining_build_errors
from casvit_mm.errors import InputError
from casvit_mm.task import task_name

DETECTION = ROOT / 'configs' / 'retinanet_casvit_xs_light.py'


def config(path=DETECTION, **changes):
    cfg = read_config(path)
    cfg.merge_from_dict(changes)
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize(
    ('key', 'name', 'near'),
    [
        ('model.type', 'RetinaNett', 'RetinaNet'),
        ('model.neck.type', 'FPNN', 'FPN'),
        ('model.bbox_head.type', 'RetinaHed', 'RetinaHead'),
        ('train_dataloader.dataset.type', 'CocoDataste', 'CocoDataset'),
        ('train_dataloader.dataset.pipeline.0.type', 'LoadImage', 'LoadImageFromFile'),
        ('optim_wrapper.optimizer.type', 'AdmaW', 'AdamW'),
        ('optim_wrapper.type', 'AmpOptimWraper', 'AmpOptimWrapper'),
        ('param_scheduler.0.type', 'LinearRL', 'LinearLR'),
        ('val_evaluator.type', 'CocoMetrics', 'CocoMetric'),
        ('train_cfg.type', 'EpochBasedLoop', 'EpochBasedTrainLoop'),
        ('default_hooks.checkpoint.type', 'CheckpointHok', 'CheckpointHook'),
        ('visualizer.vis_backends.0.type', 'LocalBackend', 'LocalVisBackend'),
    ],
)
def test_an_unknown_type_is_named_with_its_place_and_the_nearest_names(key, name, near):
    check_types(config(), ('train', 'val'))
    with pytest.raises(InputError, match=rf'{key}={name} is not registered .*{near}\b'):
        check_types(config(**{key: name}), ('train', 'val'))


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('train_dataloader.dataset.ann_fle', "dataset has no argument 'ann_fle'; .* 'ann_file'"),
        (
            'train_dataloader.dataset.pipeline.0.to_float',
            "no argument 'to_float'; .*to_float32",
        ),
        ('val_evaluator.max_det', "has no argument 'max_det'; did you mean 'max_dets'"),
        ('train_cfg.max_epoch', "train_cfg has no argument 'max_epoch'; .* 'max_epochs'"),
    ],
)
def test_an_argument_that_a_class_does_not_take_is_named(key, message):
    with pytest.raises(InputError, match=message):
        check_types(config(**{key: 3}), ('train', 'val'))


def test_the_pipeline_of_the_last_epochs_is_checked_before_the_first():
    path = ROOT / 'configs' / 'rtmdet_casvit_xs_light_gpu.py'
    place = 'custom_hooks.1.switch_pipeline.3'
    with pytest.raises(InputError, match=rf'{place}.type=RandomCrob is not registered'):
        check_types(config(path, **{f'{place}.type': 'RandomCrob'}), ('train', 'val'))
    with pytest.raises(InputError, match=rf"{place} has no argument 'ratio'"):
        check_types(config(path, **{f'{place}.ratio': 2}), ('train', 'val'))


def test_arguments_that_go_on_elsewhere_are_left_to_the_class():
    step = dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 1), keep_ratio=True)
    check_types(config(**{'train_dataloader.dataset.pipeline': [step]}), ('train',))


def test_only_what_will_be_built_is_looked_up():
    check_types(config(**{'train_dataloader.dataset.pipeline.0.type': 'Mine'}), ('test',))


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda p: p.stem)
def test_our_configs_pass(path):
    cfg = read_config(path)
    task_name(cfg)
    check_types(cfg, ('train', 'val', 'test'))


def test_a_package_that_is_not_installed_is_named_before_the_model_is_built(monkeypatch):
    monkeypatch.setattr(
        'casvit_mm.config.type_checks.BACKEND_PACKAGES', {'WandbVisBackend': 'no_such'}
    )
    cfg = config(**{'visualizer.vis_backends.0.type': 'WandbVisBackend'})
    with pytest.raises(InputError, match=r'needs the package no_such, .* pip install no_such'):
        check_types(cfg, ('train',))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model.neck.out_channel', 64, r"model\.neck: FPN cannot be built: .*'out_channel'"),
        ('model.bbox_head.loss_cls.type', 'FocalLos', r'bbox_head\.loss_cls\.type=FocalLos'),
        ('model.neck.num_outs', 1, r'model\.neck: FPN cannot be built'),
    ],
)
def test_what_cannot_be_built_is_told_by_its_place(key, value, message):
    cfg = config(**{key: value, 'model.backbone.init_cfg': None})
    with pytest.raises(InputError, match=message), explaining_build_errors(cfg):
        MODELS.build(cfg.model)


def test_errors_of_classes_of_the_user_keep_their_traceback():
    @HOOKS.register_module(force=True)
    class BrokenHookOfAUser:
        def __init__(self):
            raise KeyError('a fault of the user')

    BrokenHookOfAUser.__module__ = 'my_project.hooks'
    cfg = config()
    with pytest.raises(KeyError, match='a fault of the user'), explaining_build_errors(cfg):
        HOOKS.build(dict(type='BrokenHookOfAUser'))


def test_errors_outside_building_keep_their_traceback():
    with pytest.raises(KeyError, match='elsewhere'), explaining_build_errors(config()):
        raise KeyError('elsewhere')
