"""One training at a time in a work dir.

Two would remove each other's checkpoints. The first holds a lock of the kernel, which ends with the
process, however that ends, so that a killed run does not stop the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import socket
import sys
import time
from pathlib import Path

from mmengine.config import Config

from casvit_mm.distributed.group import on_first_rank
from casvit_mm.engine.options import TrainOptions
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable

__all__ = ['LOCK', 'claim_work_dir', 'release_work_dir']

LOCK = 'run.lock'

# Descriptor and path of the lock that this process holds.
_held: list[tuple[int, Path]] = []


def claim_work_dir(cfg: Config, options: TrainOptions) -> list[str]:
    """Make the work dir of a config and lock it, until :func:`release_work_dir`.

    Rank 0 does so for all.

    Returns:
        What the log should say.

    Raises:
        InputError: If it cannot be written, or another training runs in it.
    """
    return on_first_rank(lambda: _claim(Path(cfg.work_dir)))


def _claim(work_dir: Path) -> list[str]:
    if work_dir.exists() and not work_dir.is_dir():
        raise InputError(f'--work-dir {work_dir} is a file; name a folder')
    check_writable({}, {'--work-dir': str(work_dir)})
    path = work_dir / LOCK
    try:
        descriptor = _lock(path)
    except BlockingIOError:
        raise InputError(
            f'another training runs in {work_dir}: {_holder(path)}. Wait for it or end it, or give '
            f'this one another --work-dir. (It holds the lock {path}.)'
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise InputError(f'--work-dir: cannot write {path}: {error.strerror}') from error
        return [
            f'{work_dir} cannot be locked on this file system ({error.strerror}): take care that '
            'no other training uses it'
        ]
    _held.append((descriptor, path))
    command = shlex.join([Path(sys.executable).name, *sys.argv])
    started = time.strftime('%Y-%m-%d %H:%M:%S')
    holder = f'process {os.getpid()} on {socket.gethostname()} since {started}: {command}\n'
    os.ftruncate(descriptor, 0)
    os.write(descriptor, holder.encode())
    return []


def _lock(path: Path) -> int:
    """Return the descriptor of the locked file.

    Raises:
        BlockingIOError: If another process holds it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:  # the holder has just removed it
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        return path.read_text(errors='replace').strip() or 'it has just begun'
    except OSError as error:
        return f'which one cannot be read ({error.strerror})'


def release_work_dir() -> None:
    """Give up the lock that this process holds, if any."""
    while _held:
        descriptor, path = _held.pop()
        path.unlink(missing_ok=True)
        # Said, since data workers, which live as long as their loader, have the descriptor too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
