"""Two hosts, which are two network namespaces with a cable between them."""

import itertools
import os
import shutil
import signal
import subprocess

import pytest
import torch
from helpers import free_port
from tiny_training import TinyRun

NUMBER = itertools.count(os.getpid() % 10000)


def ip(*arguments):
    return subprocess.run(['ip', *arguments], capture_output=True, text=True)


def can_make_namespaces() -> bool:
    name = f'probe{os.getpid()}'
    if shutil.which('ip') is None or ip('netns', 'add', name).returncode:
        return False
    entered = ip('netns', 'exec', name, 'true').returncode == 0
    ip('netns', 'del', name)
    return entered


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_make_namespaces(), reason='needs ip netns, and to be root'),
    pytest.mark.skipif(torch.cuda.is_available(), reason='gloo, on a host without GPU'),
]


@pytest.fixture
def hosts(tmp_path):
    """Two runs of two processes each that are one training, and a function that cuts the cable."""
    number = next(NUMBER)
    names, ends = [f'h{number}a', f'h{number}b'], [f'v{number}a', f'v{number}b']
    for name in names:
        ip('netns', 'add', name)
        ip('-n', name, 'link', 'set', 'lo', 'up')
    cable = ['type', 'veth', 'peer', ends[1], 'netns', names[1]]
    ip('link', 'add', ends[0], 'netns', names[0], *cable)
    for name, end, address in zip(names, ends, ('10.77.0.1', '10.77.0.2')):
        ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', end)
        ip('-n', name, 'link', 'set', end, 'up')
    port, runs = free_port(), []
    for node, (name, end) in enumerate(zip(names, ends)):
        launcher = ['--nnodes=2', f'--node-rank={node}']
        launcher += ['--master-addr=10.77.0.1', f'--master-port={port}']
        runs.append(
            TinyRun(
                tmp_path / name,
                'train_cfg.max_epochs=9',
                'train_dataloader.dataset.size=64',
                processes=2,
                prefix=['ip', 'netns', 'exec', name],
                launcher=launcher,
                GLOO_SOCKET_IFNAME=end,
                PEER_TIMEOUT='6',
            )
        )
    yield runs, lambda: ip('-n', names[1], 'link', 'set', ends[1], 'down')
    for run in runs:
        run.kill()
    for name in names:
        ip('netns', 'del', name)


def test_a_process_that_is_killed_ends_the_other_host_which_names_it(hosts):
    (here, there), _ = hosts
    here.wait_for('Epoch(train) [1][2/')
    os.kill(there.trainings()[1], signal.SIGKILL)
    assert here.wait(20) == 137
    assert 'error: rank 3 on host ' in here.printed
    assert '(10.77.0.2) was ended by SIGKILL' in here.printed
    assert there.wait(40) == 137
    assert 'Traceback' not in here.printed + there.printed
    assert here.processes() == there.processes() == {}


def test_a_cable_that_is_cut_ends_both_hosts_in_the_time_that_is_set(hosts):
    (here, there), cut = hosts
    here.wait_for('Epoch(train) [1][2/')
    cut()
    assert here.wait(12) == there.wait(12) == 137
    assert 'error: ranks 2, 3 on host ' in here.printed
    assert '(10.77.0.2) do not answer' in here.printed
    assert 'error: ranks 0, 1 on host ' in there.printed
    assert 'Traceback' not in here.printed + there.printed
    assert here.processes() == there.processes() == {}
