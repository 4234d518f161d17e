"""The commands that a check, a training and an evaluation end with."""

import sys

import pytest
import torch

from casvit_mm.engine.next_commands import after_check, after_test, after_training, as_text

WHOLE = """
default_scope = 'mmdet'
model = dict(type='RetinaNet', backbone=dict(type='CASViT', arch='xs'))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
"""
NOT_PLAIN = WHOLE.replace("'xs'", "str('xs')")


@pytest.fixture(autouse=True)
def started_as_a_command(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/casvit-mm', 'train'])
    monkeypatch.chdir(tmp_path)


def save(name: str, config: str | None) -> str:
    torch.save(dict(state_dict={}, meta={} if config is None else dict(cfg=config)), name)
    return name


def test_after_a_check_of_blanks_in_names_the_line_can_be_copied():
    assert after_check('my data/dataset.yaml', 'c.py', from_scratch=True) == [
        "casvit-mm browse-data c.py --data 'my data/dataset.yaml'",
        "casvit-mm train c.py --data 'my data/dataset.yaml' --from-scratch",
    ]
    assert '--from-scratch' not in after_check('d.yaml', 'c.py', from_scratch=False)[1]


def test_a_checkpoint_that_holds_its_config_is_named_alone():
    best = save('best one.pth', WHOLE)
    assert after_training('c.py', best, 'd.yaml') == [
        "casvit-mm test 'best one.pth' --data d.yaml",
        "casvit-mm predict 'best one.pth' photos/",
        "casvit-mm export 'best one.pth' --format onnx",
    ]


def test_without_a_dataset_yaml_the_config_names_the_data():
    best = save('best.pth', WHOLE)
    assert after_training('c.py', best, None)[0] == 'casvit-mm test c.py best.pth'


@pytest.mark.parametrize('config', [None, NOT_PLAIN])
def test_a_checkpoint_without_a_usable_config_is_named_with_one(config):
    best = save('best.pth', config)
    lines = after_training('c.py', best, 'd.yaml')
    assert all(' c.py best.pth ' in line for line in lines)
    assert (
        ' c.py best.pth photos/' in after_test('c.py', best, None, exported=False, enough=False)[1]
    )


def test_an_exported_file_is_not_exported_again():
    lines = after_test('c.py', 'm.onnx', 'd.yaml', exported=True, enough=False)
    assert lines == [
        'casvit-mm test c.py m.onnx --data d.yaml --analysis errors',
        'casvit-mm predict m.onnx photos/',
    ]


def test_the_lines_stand_under_a_heading():
    assert as_text(['a', 'b']) == 'next:\n  a\n  b'
