"""Runs whose launcher is killed, whose terminal is closed, whose data are damaged."""

import os
import signal
import sys
import time

import pytest
import torch
from mmengine.config import Config
from tiny_training import TinyRun

from casvit_mm import InputError
from casvit_mm.engine import TrainOptions
from casvit_mm.engine.run_lock import claim_work_dir
from casvit_mm.weights.reading import load_file

pytestmark = [
    pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc'),
    pytest.mark.skipif(torch.cuda.is_available(), reason='gloo, on a host without GPU'),
]


@pytest.fixture
def start(tmp_path):
    runs = []

    def start_run(*arguments, **options):
        runs.append(TinyRun(tmp_path / 'run', *arguments, **options))
        return runs[-1]

    yield start_run
    for run in runs:
        run.kill()


@pytest.mark.slow
def test_processes_whose_launcher_is_killed_save_and_end(start):
    run = start('model.seconds=0.3', processes=2)
    run.wait_for('Epoch(train) [1][2/4]')
    assert len(run.trainings()) == 2
    with pytest.raises(InputError, match=r'another training runs in .*--launcher pytorch'):
        claim_work_dir(Config(dict(work_dir=str(run.work_dir))), TrainOptions())
    os.kill(run.process.pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while run.processes() and time.monotonic() < end:
        time.sleep(0.1)
    assert run.processes() == {}
    assert load_file(run.work_dir / 'interrupted.pth')['meta']['iter'] < 5
    assert 'SIGTERM: stopped after iteration' in run.printed
    assert 'Traceback' not in run.printed
