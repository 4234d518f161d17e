"""The end of a command line under a process group."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit
import weakref
import torch.distributed as dist
from casvit_mm.cli import cli
from casvit_mm.errors import InputError

def work():
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    atexit.register(print, 'exit functions ran')
    weakref.finalize(dist.group.WORLD, print, 'the group was destructed').atexit = False
    {end}

class Group:
    def __del__(self):
        print('destructors ran')

group = Group()
group.itself = group  # like a model that keeps the group alive
cli(work)
"""


@pytest.mark.parametrize(
    ('end', 'status', 'message'),
    [
        ("raise InputError('the file is not there')", 2, '\nerror: the file is not there\n'),
        ('raise KeyboardInterrupt', 130, '\ninterrupted\n'),
        pytest.param('pass', 0, '', marks=pytest.mark.slow),
        pytest.param('raise SystemExit(143)', 143, '', marks=pytest.mark.slow),
        ('raise RuntimeError("cannot allocate memory: 9 GB")', 2, 'allocate memory: 9 GB)\n'),
        pytest.param('raise MemoryError', 2, '\nerror: memory does not', marks=pytest.mark.slow),
    ],
)
def test_a_process_of_a_group_ends_with_its_status_and_without_destructors(end, status, message):
    # Destructors that meet gloo's threads at work abort the process by chance (status -6); that of
    # the group may wait for them for ever.
    command = [sys.executable, '-c', SCRIPT.replace('{end}', end)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == status, ended.stderr
    assert message in ended.stderr
    assert ended.stdout.splitlines() == ['exit functions ran']
