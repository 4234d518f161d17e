"""The commands that check and browse a custom dataset."""

import shutil
import sys
from pathlib import Path

import pytest
from helpers import ROOT, run_command, run_job

pytest.importorskip('mmdet')
from detection_data import MASK, edit


@pytest.fixture
def folder(shapes, tmp_path):
    """A dataset that may be spoilt."""
    return Path(shutil.copytree(shapes.parent, tmp_path / 'data'))


def run(*arguments):
    return run_command(sys.executable, 'tools/check_data.py', *arguments)


@pytest.mark.slow
def test_the_tool_ends_with_2_where_training_would_and_with_0_for_a_clean_copy(folder, tmp_path):
    edit(folder, lambda c: c['annotations'][1].update(category_id=9))
    out, clean = tmp_path / 'out', tmp_path / 'clean'
    arguments = (folder / 'dataset.yaml', '--config', MASK, '--out', out)
    assert run(*arguments).returncode == 2
    result = run(*arguments, '--fix', clean)
    assert result.returncode == 0, result.stderr
    assert '\nNO: ' in result.stdout
    assert 'unknown category' in result.stdout
    again = run(clean / 'dataset.yaml', '--config', MASK, '--out', tmp_path / 'again', '--fast')
    assert again.returncode == 0, again.stdout + again.stderr
    assert '\nYES: ' in again.stdout


def test_the_tool_names_a_missing_description(tmp_path):
    result = run_job('check_data', tmp_path / 'nowhere.yaml')
    assert result.returncode == 2
    assert 'nowhere.yaml (--data) does not exist' in result.stderr


def test_browsing_prints_its_report(shapes, tmp_path):
    config = ROOT / 'configs/maskrcnn_casvit_xs_shapes.py'
    options = ('--data', shapes, '--count', 1, '--out', tmp_path)
    result = run_job('browse_data', config, *options)
    assert result.returncode == 0, result.stderr
    assert '8 used of 8 listed' in result.stdout
    assert f'{tmp_path}/overview.png' in result.stdout
