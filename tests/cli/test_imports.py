"""Importing the package in a new process."""

import subprocess
import sys

import pytest
from helpers import ROOT, slow_after

import casvit_mm


def test_without_torch_the_package_imports_and_only_its_models_fail():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        'import casvit_mm; print(casvit_mm.__version__)\n'
        'casvit_mm.CASViT'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.stdout.strip() == casvit_mm.__version__
    assert done.stderr.splitlines()[-1].startswith('ModuleNotFoundError: import of torch')


@pytest.mark.parametrize(
    'first',
    slow_after(1, ['from mmengine.registry import MODELS', 'import casvit_mm.weights.matching']),
)
def test_importing_the_package_registers_the_backbone(first):
    code = (
        f'import casvit_mm; {first}; from mmengine.registry import MODELS; import mmengine, timm; '
        "assert MODELS.get('CASViT') is casvit_mm.CASViT; "
        "assert timm.is_model('casvit_s'); "
        'assert mmengine.Config._get_cfg_path.__module__ == "casvit_mm.config.paths"'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=250)


def test_the_package_deploy_and_the_list_of_published_files_load_no_torch():
    code = (
        'import sys, casvit_mm, casvit_mm.deploy\n'
        "from casvit_mm.commands import main; main('download_weights')\n"
        "print({'torch', 'mmengine', 'timm'} & set(sys.modules))"
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert 'cas-vit-xs' in done.stdout
    assert done.stdout.splitlines()[-1] == 'set()', done.stderr


def test_what_looks_at_data_imports_no_framework_and_can_later(tmp_path):
    code = (
        'import sys\n'
        'from casvit_mm.datasets.shapes import generate_shapes\n'
        'from casvit_mm.commands.check_data import add_arguments, run\n'
        'from argparse import ArgumentParser\n'
        f'generate_shapes({str(tmp_path / "a")!r}, (8, 3, 3))\n'
        'parser = ArgumentParser(); add_arguments(parser)\n'
        f'args = [{str(tmp_path / "a/dataset.yaml")!r}, "--out", {str(tmp_path / "out")!r}]\n'
        'status = []\n'
        'try: run(parser.parse_args(args))\n'
        'except SystemExit as end: status.append(end.code)\n'
        'heavy = {"mmdet", "mmcv", "mmpretrain", "timm", "torchvision", "mmengine.runner"}\n'
        'print(status, heavy & set(sys.modules))\n'
        'from casvit_mm.detection import CocoAP\n'
        'from casvit_mm.registration import register_now\n'
        'register_now()\n'
        'from mmengine.registry import METRICS, MODELS\n'
        'print(METRICS.get("CocoAP") is CocoAP, MODELS.get("CASViT").__name__)\n'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert '[0] set()' in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == 'True CASViT', done.stderr
