"""Who finds which operators, in processes of their own."""

import subprocess
import sys

import pytest
from helpers import run_command

pytest.importorskip('torchvision')


def test_a_compiled_module_is_found_before_ours(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').write_text('')
    (tmp_path / 'mmcv/_ext.py').write_text("nms = 'compiled'")
    code = 'import casvit_mm, mmcv._ext; print(mmcv._ext.nms)'
    result = run_command(sys.executable, '-c', code, PYTHONPATH=str(tmp_path))
    assert result.stdout.strip() == 'compiled', result.stderr


def test_install_helps_programs_that_never_import_us_and_uninstall_undoes_it(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').write_text('')
    probe = (sys.executable, '-c', 'import mmcv._ext; print(mmcv._ext.nms.__module__)')
    env = dict(PYTHONPATH=str(tmp_path))

    def action(name: str) -> subprocess.CompletedProcess:
        return run_command(sys.executable, '-m', 'casvit_mm.ops', name, **env)

    assert run_command(*probe, **env).returncode != 0
    assert 'wrote' in action('install').stdout
    assert run_command(*probe, **env).stdout.strip() == 'casvit_mm.ops.torchvision_ops'
    assert 'every program' in action('status').stdout
    assert 'removed' in action('uninstall').stdout
    assert run_command(*probe, **env).returncode != 0


def test_importing_casvit_mm_needs_only_torch_mmengine_and_timm():
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'faster_coco_eval'):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import casvit_mm, torch
print(casvit_mm.CASViT('xs').eval()(torch.rand(1, 3, 32, 32))[3].shape[1])
"""
    result = run_command(sys.executable, '-c', code)
    assert result.stdout.strip() == '220', result.stderr
