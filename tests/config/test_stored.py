"""The config inside a checkpoint: read as data, whatever it says."""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip('mmdet')
from export_models import CONFIGS, write_model
from helpers import ROOT
from mmengine.config import Config

import casvit_mm
from casvit_mm import InputError
from casvit_mm.config.stored import parse_config, stored_config

SOUND = """
custom_imports = dict(imports=['casvit_mm.detection'])
default_scope = 'mmdet'
model = dict(type='RetinaNet', backbone=dict(type='CASViT', arch='xs'))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
"""


def stored(text):
    return stored_config(dict(meta=dict(cfg=text)), 'best.pth')


def test_the_text_that_mmengine_writes_is_parsed_to_the_same():
    for name in ('maskrcnn_casvit_xs_light', 'fvit_b16_imagenet'):
        cfg = Config.fromfile(ROOT / f'configs/{name}.py')
        assert parse_config(cfg.pretty_text, 'a.pth') == cfg.to_dict()


@pytest.mark.parametrize('name', [*CONFIGS.values(), 'casvit_xs_imagenet_distill'])
def test_model_and_pipeline_are_those_of_the_config(name):
    pytest.importorskip('mmseg')
    pytest.importorskip('mmpretrain')
    whole = Config.fromfile(ROOT / f'configs/{name}.py')
    cfg = stored(whole.pretty_text)
    assert set(cfg) == {'default_scope', 'model', 'test_dataloader'}
    assert cfg.model.backbone.arch == whole.model.backbone.arch
    assert 'init_cfg' not in cfg.model.backbone
    expected = whole.test_dataloader.dataset.pipeline
    assert [dict(step) for step in cfg.test_dataloader.dataset.pipeline] == [
        {key: value for key, value in step.items() if key != '_scope_'} | dict(step)
        for step in expected
    ]


def test_a_checkpoint_without_a_config_is_refused_with_the_way_to_name_one():
    with pytest.raises(InputError, match=r'best\.pth holds no config.*config=FILE\.py'):
        stored_config({}, 'best.pth')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('import os', 'line 6 is no plain data: import os'),
        ("x = os.system('touch gone')", 'line 6 is no plain data'),
        ("x = __import__('os')", 'line 6 is no plain data'),
        ('x = 9**9**9', 'line 6 is no plain data'),
        ("x = open('a').read()", 'line 6 is no plain data'),
        ('x = [', 'line 6'),
        ('(' * 5000, 'cannot be parsed|too many nested|line'),
        ("custom_imports = dict(imports=['antigravity'])", 'imports antigravity, and only'),
        ("custom_imports = dict(imports=['mmdet.__main__'])", 'imports mmdet.__main__, and only'),
        ("custom_imports = dict(imports=['casvit_mm.gone'])", 'casvit_mm.gone cannot be imported'),
        ("model.update(type='os.system')", 'line 6 is no plain data'),
        ("default_scope = 'os'", "default_scope='os'"),
        ('test_dataloader = dict()', 'no model, or no test_dataloader'),
        ("test_dataloader = dict(dataset='x')", 'has no pipeline'),
    ],
)
def test_what_is_no_plain_data_of_a_model_is_refused(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    with pytest.raises(InputError, match=message):
        stored(SOUND + change)
    assert 'antigravity' not in set(sys.modules) - before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        ("type='os.system', command='touch gone'", r'neck\.type=os\.system is no registered'),
        ("type='antigravity'", 'neck.type=antigravity is no registered'),
        ("type='mmengine.utils.install_package', package='x'", 'install_package is no registered'),
        ("type='FPN', _delete_=True", 'neck._delete_ is not read'),
        ("type='FPN', _scope_='os'", 'neck._scope_=os is no scope'),
        ("type='FPN', nms=dict(type='__import__')", 'nms.type=__import__ is no registered'),
        ("type='FPN', teacher_config='/etc/passwd'", 'teacher_config=/etc/passwd is no word'),
        ("type='FPN', file='weights.pkl'", 'file=weights.pkl is no word'),
        ("type='FPN', mode='__import__(1)'", r'mode=__import__\(1\) is no word'),
        ("type='CameraMotionCompensation', warp_mode='print'", 'is no registered'),
        ("type='BertModel', name='evil'", 'is no registered'),
        ("type='FPN', trust_remote_code=True", 'trust_remote_code is not read'),
    ],
)
def test_a_type_or_text_that_could_run_or_read_something_is_refused(part, message):
    text = SOUND.replace("arch='xs')", f"arch='xs'), neck=dict({part})")
    with pytest.raises(InputError, match=message):
        stored(text)


def test_a_hostile_checkpoint_starts_and_opens_nothing(tmp_path, monkeypatch):
    _, checkpoint = write_model(tmp_path, 'retinanet')
    content = torch.load(checkpoint)
    text = content['meta']['cfg']
    content['meta']['cfg'] = text.replace("type='FPN'", "type='os.system', command='touch gone'")
    assert content['meta']['cfg'] != text
    torch.save(content, checkpoint)
    for module, name in ((os, 'system'), (subprocess, 'Popen')):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail('it was called'))
    with pytest.raises(InputError, match=r'os\.system is no registered class.*config=FILE'):
        casvit_mm.load(checkpoint, device='cpu')


def test_a_model_that_memory_cannot_hold_is_refused(tmp_path):
    _, checkpoint = write_model(tmp_path, 'retinanet')
    content = torch.load(checkpoint)
    text = content['meta']['cfg']
    content['meta']['cfg'] = text.replace('feat_channels=32', 'feat_channels=300000')
    assert content['meta']['cfg'] != text
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match="can't allocate memory"):
        casvit_mm.load(checkpoint, device='cpu')
