"""Entries of a config set on the command line."""

import argparse

import pytest
from mmengine.config import Config

from casvit_mm.config.options import ConfigOptions, merge_options
from casvit_mm.errors import InputError


def parse(*entries):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    return parser.parse_args(['--cfg-options', *entries]).cfg_options


def config():
    cfg = Config(
        dict(
            model=dict(type='RetinaNet', neck=dict(add_extra_convs=True, channels=[48, 56])),
            train_pipeline=[dict(type='Resize')],
            train_dataloader=dict(
                batch_size=4,
                dataset=dict(pipeline=[dict(type='Resize', scale=(8, 8)), dict(type='Flip')]),
            ),
            optim_wrapper=dict(optimizer=dict(lr=0.1), loss_scale=512.0),
            val_dataloader=None,
            resume=False,
        )
    )
    object.__setattr__(cfg, '_filename', 'my_config.py')
    return cfg


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('1e-4', 1e-4),
        ('true', True),
        ('None', None),
        ('my images/first', 'my images/first'),
        ('[traffic light, car]', ['traffic light', 'car']),
        ('a,b', ['a', 'b']),
        ('[(1,2),(3,4)]', [(1, 2), (3, 4)]),
        ('(1333,800)', (1333, 800)),
        ('[]', []),
        ('a=b', 'a=b'),
    ],
)
def test_values_are_read_as_mmengine_reads_them_but_with_their_spaces(text, value):
    assert parse(f'work_dir={text}') == {'work_dir': value}


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ('KEY', "'KEY' is not KEY=VALUE"),
        ('=3', 'is not KEY=VALUE'),
        ('a..b=3', 'is not KEY=VALUE'),
        ('lr=(1', 'brackets of (1 do not match'),
        ('lr=[1,2)', 'brackets of [1,2) do not match'),
        ("clip_grad={'max_norm': 1}", 'set entry by entry'),
    ],
)
def test_what_is_no_entry_ends_with_usage_and_status_2(entry, message, capsys):
    with pytest.raises(SystemExit) as end:
        parse(entry)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('modle.neck.channels', 3, "no 'modle'; did you mean 'model'?"),
        ('train_pipeline.0.type', 'X', 'a variable of my_config.py, which nothing reads'),
        ('train_dataloader.dataset.pipeline.99.type', 'X', "2 entries, .*; there is no '99'"),
        ('train_dataloader.dataset.pipeline.x.type', 'X', "2 entries, .*; there is no 'x'"),
        ('train_dataloader.batch_size', 'two', 'needs numbers, like the 4'),
        ('train_dataloader.dataset.pipeline.0.scale', 'x', r'needs numbers, like the \(8, 8\)'),
        ('train_dataloader.batch_size.x', 1, 'train_dataloader.batch_size is 4'),
        ('val_dataloader.batch_size', 1, "val_dataloader is None and has no entry 'batch_size'"),
        ('model', 3, 'model holds the entries type, neck; set one of them, as in model.type'),
        ('resume', 'yes', 'write True or False'),
        ('resume', 3, 'write True or False'),
        ('custom_hooks.0.type', 'EMAHook', "has no entry '0'"),
        ('custom_imports.imports', ['no_such_package'], 'no_such_package'),
        ('launcher', 'pytorch', 'an option of its own, --launcher'),
    ],
)
def test_an_entry_that_cannot_work_is_refused(key, value, message):
    with pytest.raises(InputError, match=message):
        merge_options(config(), {key: value})


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.neck.add_extra_convs', 'on_input'),
        ('model.neck.new_argument', 3),
        ('optim_wrapper.loss_scale', 'dynamic'),
        ('optim_wrapper.clip_grad.max_norm', 1),
        ('test_dataloader.batch_size', 2),
        ('train_dataloader.dataset.pipeline.1.type', 'RandomFlip'),
        ('custom_imports.imports', ['casvit_mm.detection']),
        ('model.neck', None),
    ],
)
def test_an_entry_that_can_work_is_set(key, value):
    cfg = config()
    merge_options(cfg, {key: value})
    node = cfg
    for part in key.split('.'):
        node = node[int(part)] if part.isdecimal() else node[part]
    assert node == value
