"""A command with a time limit, of which nothing runs on afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from casvit_mm.distributed.processes import PARENT

__all__ = ['run_limited']

# Variable that every process of a command inherits, also one in a session of its own.
_MARK = 'CASVIT_MM_LIMITED'
_PAUSE = 0.05  # seconds between two looks at what runs


def run_limited(
    command: Sequence[str],
    log: Path,
    seconds: float,
    *,
    grace: float = 15.0,
    env: dict[str, str] | None = None,
) -> int | None:
    """Run a command until it ends or its time is over, and then end all that it has started.

    What is left first gets SIGTERM, so that a training saves its state, and SIGKILL after the
    grace. The same happens if an error or a signal ends the caller meanwhile.

    Args:
        command: The words of it.
        log: File that gets all it prints; written anew.
        seconds: The limit, grace included.
        grace: Seconds from SIGTERM to SIGKILL, at most a third of the limit.
        env: Further variables.

    Returns:
        Its status, negative for a signal; None if its time was over.
    """
    grace = min(grace, seconds / 3)
    mark = uuid.uuid4().hex
    variables = {**os.environ, **(env or {}), _MARK: mark, PARENT: str(os.getpid())}
    with log.open('wb') as file:
        process = subprocess.Popen(
            list(command),
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=variables,
            start_new_session=True,
        )
    with _ending(process, mark, grace):
        try:
            return process.wait(seconds - grace)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def _ending(process: subprocess.Popen, mark: str, grace: float) -> Iterator[None]:
    """End a process, its group and what bears the mark when the block is left, by whatever way."""
    try:
        yield
    finally:
        try:
            if _running(process, mark):
                _tell(process, mark, signal.SIGTERM)
                end = time.monotonic() + grace
                while _running(process, mark) and time.monotonic() < end:
                    time.sleep(_PAUSE)
        finally:  # another Ctrl-C is no reason to leave something behind
            if _running(process, mark):
                _kill(process, mark)
            process.wait()


def _running(process: subprocess.Popen, mark: str) -> bool:
    return process.poll() is None or bool(_marked(mark))


def _tell(process: subprocess.Popen, mark: str, number: int) -> None:
    """Send a signal to the group of a process, and to what it has left behind if it has ended."""
    if sys.platform == 'win32':
        process.terminate()
    elif process.poll() is None:
        os.killpg(process.pid, number)
    else:
        _send(_marked(mark), number)


def _kill(process: subprocess.Popen, mark: str) -> None:
    if sys.platform == 'win32':
        tree = ['taskkill', '/F', '/T', '/PID', str(process.pid)]
        subprocess.run(tree, capture_output=True, check=False)
        return
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    while left := _marked(mark):  # one may just have started another
        _send(left, signal.SIGKILL)
        time.sleep(_PAUSE)


def _send(processes: Sequence[int], number: int) -> None:
    for one in processes:
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue


def _marked(mark: str) -> list[int]:
    """Return the processes that inherited a mark and have not ended; none outside Linux."""
    wanted = f'{_MARK}={mark}'.encode()
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if wanted in (folder / 'environ').read_bytes().split(b'\0'):
                found.append(int(folder.name))
        except OSError:  # it has just ended, or is another user's
            continue
    return found
