"""Runs whose launcher is killed, whose terminal is closed, whose data are damaged."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_training import TinyRun, train_tiny

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


def test_a_damaged_file_is_named_and_what_was_trained_before_is_saved(tmp_path):
    options = {'train_dataloader.num_workers': 1, 'train_dataloader.dataset.damaged': 5}
    with pytest.raises(InputError) as caught:
        train_tiny(tmp_path, **options)
    assert re.match(
        r"/photos/5\.jpg cannot be read: AttributeError: 'NoneType' object has no attribute 'shape'"
        r' \(.*tiny_training\.py, line \d+\)\nAll that was trained is saved in ',
        str(caught.value),
    )
    assert 'Traceback' not in str(caught.value)
    done = load_file(tmp_path / 'interrupted.pth')['meta']['iter']
    runner = train_tiny(tmp_path, resume='auto', **{'train_cfg.max_epochs': 1})
    assert runner.iter == 8
    log = next(path for path in Path(runner.log_dir).glob('*.log')).read_text()
    log = log.rpartition('resumed epoch')[2]  # runs that start in one second share the file
    assert f'Epoch(train) [1][{done + 1}/8]' in log
    assert done == 0 or f'Epoch(train) [1][{done}/8]' not in log


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_data_worker_that_is_killed_ends_the_run_with_one_message(tmp_path, split):
    options = {f'{split}_dataloader.dataset.deadly': 9, 'train_cfg.max_epochs': 1}
    with pytest.raises(InputError, match=r'^DataLoader worker \(pid.*num_workers=N') as caught:
        train_tiny(tmp_path, **options)
    assert 'Traceback' not in str(caught.value)
    (name,) = (path.name for path in tmp_path.glob('*.pth'))
    assert name == ('interrupted.pth' if split == 'train' else 'epoch_1.pth')


@pytest.mark.slow
def test_all_processes_stop_and_save_if_one_has_no_data(start):
    run = start('train_dataloader.dataset.damaged=5', processes=2)
    assert run.wait() == 2
    assert run.printed.count('error: ') == 1
    assert 'error: /photos/5.jpg cannot be read' in run.printed
    assert 'Traceback' not in run.printed
    assert (run.work_dir / 'interrupted.pth').is_file()
    assert run.processes() == {}
