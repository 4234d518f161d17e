"""The launchers of several processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from helpers import ROOT, free_port, run_command
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from casvit_mm import InputError
from casvit_mm.distributed.joining import seconds_of
from casvit_mm.distributed.peers import Ended
from casvit_mm.distributed.supervision import Run
from casvit_mm.launch import check_hosts, check_launch

COCO = 'configs/maskrcnn_casvit_xs_coco.py'


def test_bad_input_on_two_processes_prints_one_message_and_no_traceback(tmp_path):
    result = run_command(
        'tools/dist_train.sh',
        COCO,
        2,
        '--from-scratch',
        '--data',
        tmp_path / 'a b.yaml',
        PORT=free_port(),
    )
    assert result.returncode == 2
    assert result.stderr.count('error: ') == 1
    assert 'a b.yaml (--data) does not exist' in result.stderr
    assert 'Traceback' not in result.stderr


def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf'port {port} .*PORT={port + 1}'):
            check_launch(2, True, '127.0.0.1', port)
        check_launch(2, False, '127.0.0.1', port)  # only host 0 opens it


@pytest.mark.parametrize('port', [0, -1, 65536])
def test_a_port_that_does_not_exist_is_refused(port):
    with pytest.raises(InputError, match=f'PORT must be from 1 to 65535, got {port}'):
        check_launch(2, True, '127.0.0.1', port)


@pytest.mark.parametrize(
    ('hosts', 'node_rank', 'message'),
    [
        ('two', 0, "NNODES must be a number of hosts, such as 2 or 1:4, got 'two'"),
        ('0', 0, 'NNODES must be'),
        ('4:2', 0, 'NNODES must be'),
        ('2', 2, r'NODE_RANK must be from 0 to 1 on 2 host\(s\) \(NNODES\), got 2'),
        ('2', -1, 'NODE_RANK must be from 0 to 1'),
    ],
)
def test_hosts_that_do_not_exist_are_refused_instead_of_waited_for(hosts, node_rank, message):
    check_hosts('2', 1)
    check_hosts('1:4', 3)
    with pytest.raises(InputError, match=message):
        check_hosts(hosts, node_rank)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(InputError, match=r'2 processes asked for, but this host has 1 GPU'):
        check_launch(2, True, '127.0.0.1', int(free_port()))


@pytest.mark.parametrize('text', ['soon', '0', '-3', 'nan'])
def test_a_timeout_that_is_no_time_is_refused(text, monkeypatch):
    monkeypatch.setenv('PEER_TIMEOUT', text)
    with pytest.raises(InputError, match=rf"PEER_TIMEOUT must be .* got '{text}'"):
        seconds_of('PEER_TIMEOUT', 60, 2)


@pytest.mark.parametrize(
    ('codes', 'status', 'text'),
    [
        ([None, -9], 137, 'rank 5 on host a was ended by SIGKILL (kill -9, or out of memory)'),
        ([-15, 2], 2, 'rank 5 on host a ended with status 2'),
        ([-11, -6], 139, 'rank 4 on host a was ended by SIGSEGV'),
    ],
)
def test_the_process_that_failed_first_gives_the_status(codes, status, text):
    failures = {
        local_rank: ProcessFailure(local_rank, 0, code, '')
        for local_rank, code in enumerate(codes)
        if code is not None
    }
    for local_rank, failure in failures.items():
        failure.timestamp = 10 - local_rank if status == 2 else 10
    run = Run()
    run.here = Ended((4, 5), 'a')
    ended = run.fail(failures)
    assert (ended.status, str(ended)) == (status, text)


def test_launchers_pass_their_environment_and_arguments_on(tmp_path):
    (tmp_path / 'python').write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    (tmp_path / 'srun').write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    (tmp_path / 'sbatch').write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    for name in ('python', 'srun', 'sbatch'):
        (tmp_path / name).chmod(0o755)
    path = f'{tmp_path}:/usr/bin:/bin'
    cluster = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='node0', PORT='1234')

    def run(*command, **env):
        result = subprocess.run(
            command, cwd=ROOT, env=dict(PATH=path, **env), capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    printed = run('tools/dist_train.sh', 'c.py', '8', '--work-dir', 'a b', **cluster)
    for argument in (
        '--nnodes=2',
        '--node-rank=1',
        '--nproc-per-node=8',
        '--master-addr=node0',
        '--master-port=1234',
        'tools/train.py',
        'c.py',
        'a b',
    ):
        assert f'<{argument}>' in printed
    assert '<--max-restarts=0>' in printed
    assert '<--max-restarts=3>' in run('tools/dist_train.sh', 'c.py', '8', MAX_RESTARTS='3')
    printed = run('tools/dist_test.sh', 'c.py', 'w.pth', '8', '--out', 'a b.json', **cluster)
    for argument in ('--nproc-per-node=8', 'tools/test.py', 'c.py', 'w.pth', 'a b.json'):
        assert f'<{argument}>' in printed
    printed = run('tools/slurm_train.sh', 'part', 'job', 'c.py', '--work-dir', 'a b', GPUS='16')
    for argument in ('--partition=part', '--ntasks=16', 'c.py', '--launcher', 'slurm', 'a b'):
        assert f'<{argument}>' in printed
    printed = run('tools/slurm_test.sh', 'part', 'job', 'c.py', 'w.pth', SRUN_ARGS='-x n1')
    for argument in ('tools/test.py', 'w.pth', '-x', 'n1'):
        assert f'<{argument}>' in printed
    assert '<--gres=gpu:8>' in printed
    printed = run('tools/slurm_train.sh', 'part', 'job', 'c.py', GPUS='4')
    assert '<--gres=gpu:4>' in printed  # not more than are asked for
    batch = dict(BATCH='1', TASKS='4', TASKS_PER_NODE='2', SAVE_SECONDS='90', SBATCH_ARGS='-t 60')
    printed = run('tools/slurm_train.sh', 'part', 'job', 'c.py', '--amp', **batch)
    for argument in (
        '--requeue',
        '--signal=B:USR1@90',
        '-t',
        '--ntasks=4',
        '--ntasks-per-node=2',
        'tools/slurm_batch.sh',
        'tools/train.py',
        '--amp',
    ):
        assert f'<{argument}>' in printed
    assert 'gres' not in printed


# Stands for a training: takes its time to end.
PATIENT = """
import os, signal, sys, time
print(f'pid {os.getpid()}', flush=True)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), lambda signum, frame: print(f'got {signum}', flush=True))
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def launched(tmp_path):
    """Start the launcher on a script, with SIGHUP ignored as nohup does."""
    script, printed = tmp_path / 'script.py', tmp_path / 'printed.txt'
    script.write_text(PATIENT)
    command = [sys.executable, '-m', 'casvit_mm.launch', f'--master-port={free_port()}', '--']
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [*command, str(script), 'SIGINT', 'SIGTERM'],
            cwd=ROOT,
            stdout=printed.open('w'),
            stderr=subprocess.STDOUT,
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until(lambda: 'pid ' in printed.read_text())
    yield process, printed
    process.kill()


def wait_until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_launcher_passes_ctrl_c_on_and_kills_at_the_second_but_leaves_sighup_to_nohup(launched):
    process, printed = launched
    pid = int(re.search(r'pid (\d+)', printed.read_text())[1])
    process.send_signal(signal.SIGHUP)
    os.kill(pid, signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: 'got 2' in printed.read_text())
    process.send_signal(signal.SIGTERM)  # as timeout does, to the launcher and its group
    wait_until(lambda: 'got 15' in printed.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert 'Traceback' not in printed.read_text()
