"""Importing the package in a new process."""

import subprocess
import sys

from helpers import ROOT

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


def test_importing_the_package_registers_the_backbone():
    code = (
        'import casvit_mm; from mmengine.registry import MODELS; '
        "assert MODELS.get('CASViT') is casvit_mm.CASViT"
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=250)
