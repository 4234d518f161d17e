"""A command with a time limit, and what it leaves behind: nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from casvit_mm.distributed.limited import run_limited

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
# A process in a session of its own that writes its id and would sleep for long.
ORPHAN = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'],
                         start_new_session=True)
open(sys.argv[1], 'w').write(str(child.pid))
"""


def runs(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


def test_the_status_of_a_command_and_all_it_prints_are_kept(tmp_path):
    script = 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
    assert run_limited([sys.executable, '-c', script], tmp_path / 'log', 60) == 3
    assert sorted((tmp_path / 'log').read_text().split()) == ['err', 'out']


@pytest.mark.parametrize('waits', [True, False])
def test_no_process_of_a_command_runs_on(tmp_path, waits):
    script = ORPHAN + ('time.sleep(300)' if waits else '')
    command = [sys.executable, '-c', script, str(tmp_path / 'pid')]
    status = run_limited(command, tmp_path / 'log', 2.0, grace=0.3)
    assert status == (None if waits else 0)
    assert not runs(int((tmp_path / 'pid').read_text()))


def test_a_command_gets_the_time_to_save_its_state(tmp_path):
    script = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    pathlib.Path(sys.argv[1]).write_text('saved')
    sys.exit()
signal.signal(signal.SIGTERM, save)
print('ready', flush=True)
time.sleep(300)
"""
    command = [sys.executable, '-c', script, str(tmp_path / 'state')]
    start = time.monotonic()
    assert run_limited(command, tmp_path / 'log', 15.0, grace=10.0) is None
    assert (tmp_path / 'state').read_text() == 'saved'
    assert time.monotonic() - start < 15  # it does not wait for the rest of the grace


def test_a_command_that_ignores_sigterm_is_killed_within_the_limit(tmp_path):
    script = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)'
    start = time.monotonic()
    assert run_limited([sys.executable, '-c', script], tmp_path / 'log', 1.5, grace=0.5) is None
    assert time.monotonic() - start < 10


def test_the_end_of_the_caller_ends_the_command_too(tmp_path):
    caller = f"""
import signal, sys
from pathlib import Path
from casvit_mm.distributed.limited import run_limited
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
script = {ORPHAN!r} + 'time.sleep(300)'
command = [sys.executable, '-c', script, {str(tmp_path / 'pid')!r}]
run_limited(command, Path({str(tmp_path)!r}, 'log'), 200, grace=0.5)
"""
    process = subprocess.Popen([sys.executable, '-c', caller], env=os.environ)
    end = time.monotonic() + 60
    while not ((tmp_path / 'pid').is_file() and (tmp_path / 'pid').read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 143
    assert not runs(int((tmp_path / 'pid').read_text()))
