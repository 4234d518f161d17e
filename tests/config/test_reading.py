"""Configs that cannot be read."""

import inspect
import sys
from pathlib import Path

import pytest

from casvit_mm.config.paths import ROOT, config_name
from casvit_mm.config.reading import read_config
from casvit_mm.errors import InputError


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.py', 'model = dict(\n', "a.py, line 1: '\\(' was never closed"),
        ('a.py', 'model = {}\nlr = 1 / 0\n', 'a.py, line 2: ZeroDivisionError: division by zero'),
        ('a.py', 'model = {}\nlr = rate\n', "a.py, line 2: NameError: name 'rate'"),
        ('a.py', "_base_ = './broken.py'\n", 'broken.py, line 2: ZeroDivisionError'),
        ('a.py', "_base_ = './nowhere.py'\n", 'nowhere.py does not exist; does _base_ name it'),
        ('a.py', 'import no_such_package\nmodel = {}\n', 'no_such_package'),
        ('a.py', "custom_imports = dict(imports=['no_such_package'])\n", 'no_such_package'),
        ('a.py', 'lr = 1\n', 'a.py is no config: it has no model$'),
        ('a.yaml', 'train: {images: train}\n', 'no model. A description of data goes to --data'),
        ('a.yaml', '- a\n', 'a.yaml'),
        ('a.json', '{"a":', 'a.json: JSONDecodeError'),
        ('a.pth', '', 'does not end in .py, .json'),
    ],
)
def test_a_broken_config_ends_with_its_file_and_line(tmp_path, name, text, message):
    (tmp_path / 'broken.py').write_text('model = {}\nlr = 1 / 0\n')
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / name)


def test_a_config_that_inherits_from_itself_is_told_so(tmp_path):
    (tmp_path / 'a.py').write_text("_base_ = './a.py'\n")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)  # of 1000, which take ten seconds to reach
    try:
        with pytest.raises(InputError, match='_base_ leads back to the file itself'):
            read_config(tmp_path / 'a.py')
    finally:
        sys.setrecursionlimit(limit)


def test_a_binary_file_is_no_config(tmp_path):
    (tmp_path / 'a.py').write_bytes(b'\xff\xfe\x00model')
    with pytest.raises(InputError, match=r'a\.py is no text in UTF-8'):
        read_config(tmp_path / 'a.py')


def test_the_config_of_a_framework_is_that_of_the_module_and_nothing_is_installed(monkeypatch):
    monkeypatch.setattr('subprocess.check_call', lambda command: pytest.fail(str(command)))
    pytest.importorskip('mmseg')
    cfg = read_config('mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py')
    assert cfg.model.type == 'EncoderDecoder'
    with pytest.raises(InputError, match='mmdet3d, whose config is named, is not installed'):
        read_config('mmdet3d::pointpillars/nowhere.py')


def test_a_base_of_mmseg_is_found_under_any_name_of_its_distribution(tmp_path):
    pytest.importorskip('mmseg')
    path = tmp_path / 'a.py'
    path.write_text("_base_ = 'mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py'\n")
    assert read_config(path).model.decode_head.type == 'UPerHead'


def test_a_base_of_a_framework_is_found_without_reading_its_metafiles(monkeypatch):
    def read_all(*paths):
        raise AssertionError('a hundred metafiles for one path')

    monkeypatch.setattr('mmengine.config.utils._get_cfg_metainfo', read_all)
    cfg = read_config(ROOT / 'configs' / 'rtmdet_casvit_xs_coco.py')
    assert cfg.model.type == 'RTMDet'


@pytest.mark.parametrize('name', ['casvit_mm::a.py', 'configs/a.py', Path('a.py'), 'mmdet::x/a.py'])
def test_the_name_of_a_config_is_that_of_its_file(name):
    assert config_name(name) == 'a.py'
