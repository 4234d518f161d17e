"""Numbers and groups that training computes with."""

import pytest
from mmengine.config import Config

from casvit_mm.config.paths import ROOT
from casvit_mm.config.reading import read_config
from casvit_mm.config.value_checks import check_groups, check_values
from casvit_mm.errors import InputError


def config(**changes):
    base = dict(
        model=dict(type='RetinaNet', backbone=dict(type='CASViT')),
        train_dataloader=dict(batch_size=4, num_workers=1, dataset=dict(pipeline=[{}])),
        train_cfg=dict(max_epochs=3, val_interval=1),
        optim_wrapper=dict(optimizer=dict(lr=0.1)),
        param_scheduler=[dict(type='LinearLR', begin=0, end=10)],
        default_hooks=dict(checkpoint=dict(interval=1), logger=dict(interval=1)),
    )
    cfg = Config(base)
    object.__setattr__(cfg, '_filename', 'my_config.py')
    cfg.merge_from_dict(changes)
    return cfg


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('train_dataloader.batch_size', 0, 'a whole number from 1'),
        ('train_dataloader.batch_size', 1.5, 'a whole number from 1'),
        ('train_dataloader.batch_size', True, 'a whole number from 1'),
        ('train_dataloader.num_workers', -1, 'a whole number from 0'),
        ('train_dataloader.dataset.pipeline', [], 'at least one'),
        ('train_dataloader', 3, 'a dictionary, or None'),
        ('train_cfg.max_epochs', 0, 'a whole number from 1'),
        ('train_cfg.val_interval', 0, 'a number from 1'),
        ('optim_wrapper.optimizer.lr', float('nan'), 'a number above 0'),
        ('optim_wrapper.optimizer.lr', 0, 'a number above 0'),
        ('optim_wrapper.optimizer.lr', 'fast', 'a number above 0'),
        ('param_scheduler.0.end', 0, 'a whole number from 1'),
        ('default_hooks.checkpoint.interval', 0, 'or -1 for never'),
        ('default_hooks.logger.interval', 0, 'a whole number from 1'),
        ('custom_hooks', ['EMAHook'], 'a dictionary or a list of them, or None'),
        ('randomness.seed', 2**32, 'a whole number from 0 to 4294967295, or None'),
        ('log_level', 'LOUD', 'one of CRITICAL'),
        ('resume', 'maybe', 'True or False'),
        ('optim_wrapper.paramwise_cfg.custom_keys', {'norm': {'lr_mult': 'x'}}, 'a number'),
        ('param_scheduler.0.start_factor', 0, 'a number above 0'),
        ('env_cfg.mp_cfg.mp_start_method', 'fast', 'one of fork'),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key, value, message):
    check_values(config())
    with pytest.raises(InputError, match=rf'my_config\.py: {key}\S* is .*; it must be .*{message}'):
        check_values(config(**{key: value}))


def test_absent_groups_are_named():
    with pytest.raises(InputError, match=r'my_config\.py has no test_dataloader, test_cfg'):
        check_groups(config(), ('model', 'test_dataloader', 'test_cfg'))


@pytest.mark.parametrize('part', ['val_dataloader', 'val_cfg', 'val_evaluator'])
def test_a_validation_with_a_part_missing_is_refused(part):
    whole = dict(val_dataloader={}, val_cfg={}, val_evaluator={})
    check_values(config(**whole))
    with pytest.raises(InputError, match=rf'val_\w+ and val_\w+ without {part}; the three belong'):
        check_values(config(**{**whole, part: None}))


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda p: p.stem)
def test_our_configs_pass(path):
    check_values(read_config(path))
