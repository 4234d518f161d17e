"""The end of a command line under a process group."""

import socket

import pytest
import torch.distributed as dist

from casvit_mm.engine.distributed import cli
from casvit_mm.errors import InputError


def bad_input():
    raise InputError('the file is not there')


@pytest.mark.parametrize(
    ('work', 'status'), [(lambda: None, 0), (bad_input, 2), (lambda: exit(143), 143)]
)
def test_the_process_group_is_closed_before_the_process_ends(work, status):
    # A process that ends with gloo's threads at work is aborted by chance (status -6).
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    # A store in a file hangs when torch 2.4 closes the group.
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=0, world_size=1)
    try:
        cli(work)
        ended = 0
    except SystemExit as end:
        ended = end.code
    try:
        assert ended == status
        assert not dist.is_initialized()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
