"""The report of a GPU, tried whole on a CPU."""

import json
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT, run_command

from casvit_mm.gpu_report.plan import STEPS


@pytest.mark.slow
def test_a_smoke_run_of_one_step_leaves_a_page(tmp_path):
    options = ['--out', tmp_path, '--smoke', '--only', 'limits']
    ended = run_command(sys.executable, 'tools/gpu_report.py', *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    page = (tmp_path / 'report.md').read_text()
    assert '**Smoke run on a CPU.**' in page
    assert '| bf16 |' in page.split('## limits')[1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('part', [0, 1, 2])
def test_every_step_goes_its_way_on_a_cpu(part, shapes, tmp_path):
    # In thirds, so that the processes of make test-all share them.
    names = [step.name for step in STEPS][part::3]
    if shutil.which('g++') is None:
        names = [name for name in names if name != 'train-segmentor']  # the one that compiles
    options = ['--out', str(tmp_path), '--smoke', '--bccd', str(shapes), '--dsb2018', str(shapes)]
    ended = subprocess.run(
        [sys.executable, 'tools/gpu_report.py', *options, '--only', *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3500,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    content = json.loads((tmp_path / 'report.json').read_text())
    states = {name: one['status'] for name, one in content['steps'].items()}
    assert states == dict.fromkeys(names, 'done')
    if 'tests' in names:
        failed = [t for t in content['results']['tests']['tests'] if t['outcome'] == 'failed']
        assert failed == []
