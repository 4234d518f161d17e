"""What a model costs beside time and multiply-adds: parameters and memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import nn

from casvit_mm.errors import InputError

__all__ = ['check_memory', 'count_parameters', 'memory_of_calls', 'peak_of_call']


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, without the statistics of norms."""
    return sum(parameter.numel() for parameter in model.parameters())


def peak_of_call(call: Callable[[], object], device: str) -> int:
    """Return the bytes that a call needs beyond the loaded model.

    On a CPU this is the growth of the process, so it belongs into a process of its own; see
    :func:`memory_of_calls`.
    """
    if device.startswith('cuda'):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    _give_back()
    before = _status('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # forget the peak so far
    call()
    return max(_status('VmHWM') - before, 1)


def _give_back() -> None:
    """Return freed memory to the system, so that it counts when it is taken again."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # of glibc
    if trim is not None:
        trim(0)


def check_memory(device: str) -> None:
    """Refuse a system that does not tell how much memory a call needs.

    Raises:
        InputError: On a CPU, without Linux's /proc.
    """
    if not (device.startswith('cuda') or os.access('/proc/self/clear_refs', os.W_OK)):
        raise InputError(
            '--sizes: the peak memory on a CPU is read from /proc, which only Linux has. Measure '
            'the time alone by --size 224 512 1024 2048'
        )


def _status(entry: str) -> int:
    """Return an entry of this process's memory in bytes."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(entry))


def memory_of_calls(measure: Callable[[], list[int]], device: str) -> list[int]:
    """Run ``measure`` where memory can be told: on the CPU in a new process.

    Args:
        measure: Can be pickled.
        device: ``'cpu'`` or ``'cuda'``.
    """
    if device.startswith('cuda'):
        return measure()
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(measure).result()
