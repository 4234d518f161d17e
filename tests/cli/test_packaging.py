"""The installed package: configs and tools by name, from any folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.config.paths import config_path

IN_THE_WHEEL = """
import json, sys
import casvit_mm
from mmengine.config import Config
from mmengine.hub import get_config

cfg = Config.fromfile('mine.py')
named = get_config('casvit_mm::retinanet_casvit_s_coco.py', pretrained=True)
print(json.dumps(dict(
    package=casvit_mm.__file__,
    arch=cfg.model.backbone.arch,
    classes=cfg.model.bbox_head.num_classes,
    config=named.filename,
    weights=named.model_path,
)))
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
    """What a wheel holds, with its metadata, as pip would unpack it; built from a copy."""
    folder = tmp_path_factory.mktemp('installed')
    source = folder / 'source'
    ignore = shutil.ignore_patterns('__pycache__')
    for name in ('casvit_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'model-index.yml', 'MANIFEST.in'):
        shutil.copy(ROOT / name, source)
    library = folder / 'site-packages'
    library.mkdir()
    command = [sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(library)]
    command += ['egg_info', '--egg-base', str(library)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=200)
    return library


@pytest.fixture(scope='module')
def elsewhere(installed, tmp_path_factory):
    """Run Python with the installed package, in a folder with nothing but a user's config."""
    folder = tmp_path_factory.mktemp('elsewhere')
    (folder / 'mine.py').write_text(
        "_base_ = 'casvit_mm::retinanet_casvit_s_coco.py'\n"
        'model = dict(bbox_head=dict(num_classes=3))\n'
    )

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, 'PYTHONPATH': str(installed)},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.fixture(scope='module')
def seen(elsewhere) -> dict[str, str]:
    """What a program sees that imports the installed package."""
    result = elsewhere('-c', IN_THE_WHEEL)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def names(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_a_wheel_carries_every_config(installed):
    assert names(installed / 'casvit_mm/.mim/configs') == names(ROOT / 'configs')


def test_a_wheel_carries_every_tool_that_needs_no_checkout(installed):
    left_out = {'quickstart.py', 'model_zoo.py'}
    assert names(installed / 'casvit_mm/.mim/tools') == names(ROOT / 'tools') - left_out


def test_a_wheel_carries_the_page_of_the_server(installed):
    page = 'casvit_mm/serving/page'
    assert names(installed / page) == names(ROOT / page) != set()


def test_a_wheel_carries_the_model_index(installed):
    index = installed / 'casvit_mm/.mim/model-index.yml'
    assert index.read_bytes() == (ROOT / 'model-index.yml').read_bytes()


def test_the_installed_package_is_the_one_seen(seen, installed):
    assert Path(seen['package']).is_relative_to(installed)


def test_a_config_of_a_user_inherits_from_the_installed_package(seen):
    assert (seen['arch'], seen['classes']) == ('s', 3)


def test_mmengine_finds_a_config_in_the_installed_package(seen, installed):
    assert Path(seen['config']).is_relative_to(installed / 'casvit_mm/.mim/configs')


def test_mmengine_finds_the_weights_of_a_config(seen):
    assert seen['weights'].startswith('https://drive.google.com/file/d/18msm')


def test_the_console_command_is_installed(installed):
    commands = (installed / 'casvit_mm.egg-info/entry_points.txt').read_text()
    assert 'casvit-mm = casvit_mm.commands:main' in commands


def test_the_installed_package_lists_its_tools(elsewhere):
    listed = elsewhere('-m', 'casvit_mm').stdout
    assert '  train ' in listed
    assert '  download-weights ' in listed


def test_an_unknown_tool_is_refused(elsewhere):
    result = elsewhere('-m', 'casvit_mm', 'trian')
    assert result.returncode == 2
    assert "no job 'trian'; did you mean 'train'?" in result.stderr


def test_a_tool_runs_from_the_installed_package(elsewhere):
    result = elsewhere('-m', 'casvit_mm', 'train', 'casvit_mm::nowhere.py')
    assert result.returncode == 2
    assert 'config casvit_mm::nowhere.py does not exist' in result.stderr


def inherit(folder: Path, base: str) -> Config:
    path = folder / 'mine.py'
    path.write_text(f'_base_ = {base!r}\n')
    return Config.fromfile(path)


def test_configs_are_found_by_name_in_a_checkout(tmp_path):
    assert inherit(tmp_path, 'casvit_mm::casvit_m_imagenet.py').model.backbone.arch == 'm'


def test_shared_parts_are_found_by_name(tmp_path):
    assert 'train_pipeline' in inherit(tmp_path, 'casvit_mm::_base_/datasets/ade20k.py')


def test_what_is_inherited_is_built_in_the_registries_of_its_framework(tmp_path):
    cfg = inherit(tmp_path, 'casvit_mm::casvit_m_imagenet.py')
    assert '_scope_' not in cfg.model
    assert cfg.default_scope == 'mmpretrain'


def test_other_packages_are_found_as_before(tmp_path):
    cfg = inherit(tmp_path, 'mmdet::_base_/default_runtime.py')
    assert cfg.default_scope == 'mmdet'


@pytest.mark.parametrize('name', ['casvit_mm::retinanet_casvit_l_coco.py', 'retinanet_casvit_l.py'])
def test_a_config_that_is_not_there_is_refused_with_the_nearest(name):
    with pytest.raises(InputError, match='did you mean casvit_mm::retinanet_casvit_'):
        config_path(name)
