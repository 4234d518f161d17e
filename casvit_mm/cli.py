"""How a command line ends: one message for an error of the user, and a clean end of processes."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch.distributed as dist

from casvit_mm.distributed import lost_connection
from casvit_mm.distributed.processes import follow_parent
from casvit_mm.errors import InputError, escaped

__all__ = ['cli']

# Seconds that a process waits for the launcher to end it, before it speaks itself.
_PATIENCE = 20


def cli(main: Callable[[], object]) -> None:
    """Run a command line; an InputError ends it with one message and status 2, Ctrl-C with 130.

    Under several processes rank 0 speaks and the others wait for the launcher to end them.
    """
    speaks = os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'
    follow_parent()
    status: Any = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # what a terminal of ASCII cannot show
    try:
        with _telling_of_memory():
            main()
    except SystemExit as end:
        status = end.code
    except InputError as error:
        status = 2
        if speaks:
            print(f'\nerror: {_short(str(error))}', file=sys.stderr, flush=True)
        else:
            _wait_for_launcher()
            if str(error):  # rank 0 did not have it
                print(f'\nerror: {_short(str(error))}', file=sys.stderr, flush=True)
    except Exception as error:
        if lost_connection(error):
            _wait_for_launcher()
        elif not dist.is_initialized():
            raise
        traceback.print_exc()
        status = 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
        if speaks:
            print('\ninterrupted', file=sys.stderr, flush=True)
    if dist.is_initialized():
        _leave(int(status or 0))
    if status:
        sys.exit(status)


@contextmanager
def _telling_of_memory() -> Iterator[None]:
    """Turn an error of memory, as Python, torch or CUDA put it, into an InputError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or 'allocate memory' in text or 'out of memory' in text:
            raise InputError(
                f'memory does not suffice; take smaller images or batches. ({text})'
            ) from error
        raise


def _short(message: str) -> str:
    """Return a message for a terminal: nothing for it to obey, and no endless lines."""
    lines = escaped(message).splitlines()
    return '\n'.join(line if len(line) <= 2000 else f'{line[:1999]}…' for line in lines)


def _wait_for_launcher() -> None:
    """Give the launcher, or rank 0, the time to say what has happened and to end this process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    time.sleep(_PATIENCE)


def _leave(status: int) -> NoReturn:
    """End a process of a group without the destructors of C++.

    A process that ends with gloo's threads at work is aborted by chance (status -6). The group is
    held: by chance torch 2.4 waits for ever in its destructor, for a thread that waits for the GIL.
    """
    group = dist.group.WORLD  # noqa: F841
    dist.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
