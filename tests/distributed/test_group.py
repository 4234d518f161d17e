"""Errors of a process group, and the threads of its processes."""

import os

import pytest
import torch.distributed as dist

from casvit_mm.distributed.group import _threads, lost_connection

GLOO = '[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:1'


@pytest.mark.parametrize(
    ('error', 'lost'),
    [
        (RuntimeError(GLOO), True),
        (dist.DistBackendError('NCCL error: remote process exited'), True),
        (dist.DistNetworkError('The client socket has timed out'), True),
        (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), False),
        (ValueError(GLOO), False),
    ],
)
def test_a_lost_connection_is_told_from_other_errors(error, lost):
    assert lost_connection(error) is lost


def test_a_process_takes_its_share_of_the_host_and_a_task_what_slurm_gave_it(monkeypatch):
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.delenv('SLURM_CPUS_PER_TASK', raising=False)
    assert (_threads('pytorch'), _threads('slurm')) == (32, 32)
    monkeypatch.setenv('SLURM_CPUS_PER_TASK', '5')
    assert (_threads('pytorch'), _threads('slurm')) == (32, 5)
