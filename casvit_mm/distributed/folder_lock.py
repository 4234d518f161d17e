"""One run at a time in a folder.

The first holds a lock of the kernel, which ends with the process, however that ends, so that a
killed run does not stop the next.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
import sys
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ['FolderInUseError', 'lock', 'unlock']

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

# Descriptors and paths of the locks that this process holds.
_held: list[tuple[int, Path]] = []


class FolderInUseError(OSError):
    """Another process holds the lock; the message says which."""


def lock(path: Path) -> str:
    """Hold a lock until :func:`unlock` or the end of this process.

    Args:
        path: The file; its content says who holds it.

    Returns:
        Why the file system knows no locks; empty where it does.

    Raises:
        FolderInUseError: If another process holds it.
        OSError: If the file cannot be written.
    """
    if fcntl is None:
        return 'this system has none'
    try:
        descriptor = _lock(path)
    except BlockingIOError:
        raise FolderInUseError(_holder(path)) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return str(error.strerror)
    _held.append((descriptor, path))
    command = shlex.join([Path(sys.executable).name, *sys.argv])
    started = time.strftime('%Y-%m-%d %H:%M:%S')
    holder = f'process {os.getpid()} on {socket.gethostname()} since {started}: {command}\n'
    os.ftruncate(descriptor, 0)
    os.write(descriptor, holder.encode(errors='surrogateescape'))
    return ''


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


def unlock() -> None:
    """Give up the locks that this process holds, if any."""
    while _held:
        descriptor, path = _held.pop()
        path.unlink(missing_ok=True)
        # Said, since data workers, which live as long as their loader, have the descriptor too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
