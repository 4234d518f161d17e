"""An elastic run: hosts are killed, cut off, and come back."""

import os
import signal
import time

import pytest
import torch
from helpers import free_port
from tiny_training import TinyRun

from casvit_mm.weights.reading import load_file

PATIENCE = 400  # seconds for what has no limit of its own, on a busy machine
TRAINING = (
    'train_cfg.max_epochs=6',
    'train_dataloader.dataset.size=32',
    'model.seconds=0.3',
    'model.drop=0.5',
)


@pytest.fixture
def start(two_hosts, tmp_path):
    """Start the launcher of a host; both hosts have the work dir, under different names."""
    port, runs, shared = free_port(), [], tmp_path / 'shared'
    shared.mkdir()
    for node in range(2):
        (tmp_path / f'host{node}').symlink_to(shared)
    launcher = ['--nnodes=1:2', '--max-restarts=3', '--rdzv-conf=last_call_timeout=4']
    launcher += [f'--master-addr={two_hosts.names[0]}', f'--master-port={port}']

    def start_host(node, *options):
        runs.append(
            TinyRun(
                tmp_path / f'host{node}',
                *TRAINING,
                f'custom_hooks.0.gate={tmp_path}/gate',
                prefix=two_hosts.prefix(node),
                launcher=[*launcher, '--nproc-per-node=1', *options],
                printed=f'printed{len(runs)}.txt',
                PEER_TIMEOUT='20',
            )
        )
        return runs[-1]

    yield start_host
    for run in runs:
        run.kill()


@pytest.fixture
def unbroken(tmp_path):
    """The weights of a run of two processes that nothing happened to."""
    run = TinyRun(tmp_path / 'unbroken', *TRAINING, processes=2)
    assert run.wait(PATIENCE) == 0
    return load_file(tmp_path / 'unbroken/epoch_6.pth')['state_dict']


def assert_equal(work_dir, weights):
    """Compare the end of a run with an unbroken one, by what sums of floats allow."""
    found = load_file(work_dir / 'epoch_6.pth')['state_dict']
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_a_host_is_killed_and_comes_back(start, tmp_path, unbroken):
    here, there = start(0), start(1)
    here.wait_for('Epoch(train) [2][2/', PATIENCE)
    assert 'elastic run: ' not in here.printed  # both are there
    there.kill()
    here.wait_for('elastic run: 1 of at most 2 processes are there; each takes 2 x 2', PATIENCE)
    here.wait_for('resumed epoch: 1', PATIENCE)
    again = start(1)
    here.wait_for('SIGTERM: stopped ', PATIENCE)  # saved, since a host has come
    (tmp_path / 'gate').touch()
    assert (here.wait(PATIENCE), again.wait(PATIENCE)) == (0, 0)
    assert_equal(tmp_path / 'shared', unbroken)
    assert 'Traceback' not in again.printed


def test_a_host_is_cut_off_for_40_seconds_and_comes_back(start, two_hosts, tmp_path, unbroken):
    here, there = start(0), start(1)
    here.wait_for('Epoch(train) [2][2/', PATIENCE)
    two_hosts.cut(1)
    here.wait_for('(10.77.0.2) gave no answer', 40)
    there.wait_for('gave no answer', 40)
    here.wait_for('elastic run: 1 of at most 2', PATIENCE)
    two_hosts.mend(1)
    here.wait_for('SIGTERM: stopped ', PATIENCE)
    (tmp_path / 'gate').touch()
    assert (here.wait(PATIENCE), there.wait(PATIENCE)) == (0, 0)
    assert_equal(tmp_path / 'shared', unbroken)


def test_the_host_of_the_rendezvous_is_killed_and_comes_back(start, tmp_path, unbroken):
    here, there = start(0), start(1)
    here.wait_for('Epoch(train) [2][2/', PATIENCE)
    (tmp_path / 'gate').touch()
    here.kill()
    there.wait_for('This host waits for it.', PATIENCE)
    again = start(0)
    assert (again.wait(PATIENCE), there.wait(PATIENCE)) == (0, 0)
    assert_equal(tmp_path / 'shared', unbroken)


@pytest.fixture
def start_here(tmp_path):
    """Start an elastic run of two processes on this host."""
    runs = []

    def start_run(*arguments):
        launcher = [f'--master-port={free_port()}', '--max-restarts=1']
        runs.append(
            TinyRun(tmp_path / 'run', *TRAINING, *arguments, processes=2, launcher=launcher)
        )
        return runs[-1]

    yield start_run
    for run in runs:
        run.kill()


def test_a_process_is_killed_and_started_again_as_often_as_is_set(start_here):
    run = start_here('--save-every', '0.0001')
    for _ in range(2):
        before = run.printed.count('--save-every: saved after iteration')
        while run.printed.count('--save-every: saved after iteration') < before + 3:
            run.wait_for('')
            time.sleep(0.1)
        os.kill(run.trainings()[1], signal.SIGKILL)
    assert run.wait(PATIENCE) == 137
    assert 'error: rank 1 on host ' in run.printed
    assert run.printed.count('goes on at iteration') == 1


def test_an_error_of_the_user_does_not_start_the_run_again(start_here):
    run = start_here('train_dataloader.dataset.damaged=5')
    assert run.wait(PATIENCE) == 2
    assert run.printed.count('/photos/5.jpg cannot be read') == 1
    assert 'goes on at iteration' not in run.printed
