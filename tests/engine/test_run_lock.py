"""One training at a time in a work dir."""

import contextlib
import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.engine import TrainOptions
from casvit_mm.engine.run_lock import LOCK, claim_work_dir, release_work_dir


@pytest.fixture(autouse=True)
def clean():
    yield
    release_work_dir()


def claim(work_dir):
    return claim_work_dir(Config(dict(work_dir=str(work_dir))), TrainOptions())


@pytest.fixture
def other_run(tmp_path):
    """The id of another process that trains in tmp_path / 'run'."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        claim(tmp_path / 'run')
        os.write(write, b'locked')
        signal.pause()
    assert os.read(read, 6) == b'locked'
    os.close(read)
    os.close(write)
    yield pid
    kill(pid)


def kill(pid):
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_another_run_in_the_work_dir_is_named(other_run, tmp_path):
    pattern = rf'another training runs in .*run: process {other_run} on .* since 20.*pytest'
    with pytest.raises(InputError, match=pattern):
        claim(tmp_path / 'run')
    assert claim(tmp_path / 'another run') == []


def test_a_run_that_was_killed_does_not_stop_the_next(other_run, tmp_path):
    kill(other_run)
    assert (tmp_path / 'run' / LOCK).read_text().startswith(f'process {other_run} ')
    assert claim(tmp_path / 'run') == []
    assert (tmp_path / 'run' / LOCK).read_text().startswith(f'process {os.getpid()} ')


def test_a_run_that_has_ended_leaves_no_lock_though_a_worker_of_it_lives(tmp_path):
    claim(tmp_path)
    pid = os.fork()  # as a data worker, which has all that its parent has open
    if pid == 0:
        signal.pause()
    try:
        release_work_dir()
        assert list(tmp_path.iterdir()) == []
        assert claim(tmp_path) == []
    finally:
        kill(pid)


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', no_locks)
    (note,) = claim(tmp_path)
    assert 'cannot be locked on this file system (No locks available)' in note


def test_a_work_dir_that_is_a_file_or_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'--work-dir .*file is a file'):
        claim(tmp_path / 'file')
    with pytest.raises(InputError, match=r'--work-dir .*below cannot be written: .*Not a dir'):
        claim(tmp_path / 'file' / 'below')

    def read_only(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, 'mkdir', read_only)
    with pytest.raises(InputError, match=r'--work-dir .*run cannot be written: .*Read-only file'):
        claim(tmp_path / 'run')
