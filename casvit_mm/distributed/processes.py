"""No process runs on after the one that started it, and none holds connections of another.

What is done here works on Linux; elsewhere it does nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import sys

__all__ = ['PARENT', 'close_inherited_connections', 'die_with_parent', 'follow_parent']

# Variable that holds the id of the process to end with, set by whoever starts a command of ours.
PARENT = 'CASVIT_MM_PARENT'
_PR_SET_PDEATHSIG = 1


def die_with_parent(signum: int) -> None:
    """Let the kernel send this process a signal when the thread that started it has ended.

    Args:
        signum: SIGTERM lets a training save its state first.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)


def follow_parent() -> None:
    """Get SIGTERM when the process that started this command ends, where that asked for it.

    If it has ended already, SIGTERM comes at once.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is None or sys.platform != 'linux':
        return
    die_with_parent(signal.SIGTERM)
    try:
        os.kill(int(parent), 0)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
    except PermissionError:  # another user's, so it is there
        pass


def close_inherited_connections() -> None:
    """Close the TCP sockets that this process has from the one it was forked from.

    A data worker that holds the sockets of a process group keeps them open after its training
    process was killed, and the other processes do not see that it is gone. Their numbers stay in
    use, by a file that is always empty: what closes them later closes no other file.
    """
    if not os.path.isdir('/proc/self/fd'):
        return
    null = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir('/proc/self/fd')):
        if _is_tcp(number):
            os.dup2(null, number)
    os.close(null)


def _is_tcp(descriptor: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            return (
                copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM
            )
    except OSError:  # closed in the meantime, as is the list of descriptors itself
        return False
