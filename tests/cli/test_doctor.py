"""``python -m casvit_mm.doctor``."""

import sys

import pytest
from helpers import run_command

pytest.importorskip('mmdet')
from casvit_mm import doctor


def test_a_missing_package_is_named_with_the_command_that_fixes_it(monkeypatch):
    monkeypatch.setattr(doctor, 'find_spec', lambda name: name != 'mmdet' or None)
    _, errors = doctor.check_environment()
    fix = 'pip install -c constraints.txt onedl-mmdetection'
    assert ('mmdet: not installed', fix) in errors


def test_this_environment_is_found_healthy():
    result = run_command(sys.executable, '-m', 'casvit_mm.doctor')
    assert result.returncode == 0, result.stdout + result.stderr
    for text in ('torch', 'mmdet', 'operators', 'roi_align', 'everything our models need is here'):
        assert text in result.stdout
