"""How a command line ends: one message for an error of the user; and how the next one is typed."""

from __future__ import annotations

import atexit
import io
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from casvit_mm.console import quiet_warnings, speaks
from casvit_mm.distributed.processes import follow_parent
from casvit_mm.errors import InputError, escaped

__all__ = ['cli', 'job_command']

# Seconds that a process waits for the launcher to end it, before it speaks itself.
_PATIENCE = 20


def cli(main: Callable[[], object]) -> None:
    """Run a command line; an InputError ends it with one message and status 2, Ctrl-C with 130.

    Under several processes rank 0 speaks and the others wait for the launcher to end them.
    """
    follow_parent()
    quiet_warnings()
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
        if speaks():
            print(f'\nerror: {_short(str(error))}', file=sys.stderr, flush=True)
        else:
            _wait_for_launcher()
            if str(error):  # rank 0 did not have it
                print(f'\nerror: {_short(str(error))}', file=sys.stderr, flush=True)
    except Exception as error:
        if not _in_group():
            raise
        from casvit_mm.distributed.group import lost_connection

        if lost_connection(error):
            _wait_for_launcher()
        traceback.print_exc()
        status = 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
        if speaks():
            print('\ninterrupted', file=sys.stderr, flush=True)
    if _in_group():
        _leave(int(status or 0))
    if status:
        sys.exit(status)


def job_command(job: str, *arguments: object) -> str:
    """Return the line that runs a job, begun as this process was and ready to be copied.

    Args:
        job: Name of its module in ``casvit_mm.commands``.
        arguments: What follows; quoted where a shell needs it.
    """
    program = Path(sys.argv[0])
    tool = program.with_name(f'{job}.py')
    name = job.replace('_', '-')
    if program.parent.name == 'tools' and tool.is_file():
        words = ['python', str(tool)]
    elif program.parts[-2:] == ('casvit_mm', '__main__.py'):
        words = ['python', '-m', 'casvit_mm', name]
    else:
        words = ['casvit-mm', name]
    return shlex.join([*words, *map(str, arguments)])


def _in_group() -> bool:
    """Return whether this process belongs to a process group."""
    dist = sys.modules.get('torch.distributed')  # not there before torch is
    return dist is not None and dist.is_initialized()


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
    import torch.distributed as dist

    group = dist.group.WORLD  # noqa: F841
    dist.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
