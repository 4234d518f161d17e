"""The memory that a call of a model takes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ['available_memory', 'lacks_memory', 'peak_of_call']


def available_memory() -> int:
    """Return the bytes that are free: of the GPU, if there is one, else of this host or container.

    Where the system does not tell what is free, half of what there is.
    """
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    free = [pages // 2]
    meminfo = Path('/proc/meminfo')
    if meminfo.is_file():
        fields = dict(line.split(':', 1) for line in meminfo.read_text().splitlines())
        free = [1024 * int(fields['MemAvailable'].split()[0])]
    limit, used = (Path('/sys/fs/cgroup', f'memory.{name}') for name in ('max', 'current'))
    if limit.is_file() and limit.read_text().strip() != 'max':
        free.append(int(limit.read_text()) - int(used.read_text()))
    return min(free)


def lacks_memory(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, says that memory did not suffice."""
    while error is not None:
        if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
            words in str(error) for words in ('out of memory', "can't allocate memory")
        ):
            return True
        error = error.__cause__
    return False


def peak_of_call(call: Callable[[], object], device: str) -> int:
    """Return the most bytes that PyTorch holds at once during a call, beyond those before it.

    So neither weights nor input count, nor what the kernels' library takes for itself.

    Args:
        call: Computes with PyTorch.
        device: ``'cpu'`` or ``'cuda'``.
    """
    call()  # compiles and prepares
    if not device.startswith('cuda'):
        return max(accumulate(_allocations(call), initial=0))
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _allocations(call: Callable[[], object]) -> list[int]:
    """Return the bytes that a call takes on the CPU, or gives back, in order of time.

    Not from the size of the process: that also holds what was freed and is kept, and so scatters by
    a fifth from call to call.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    found = [event for event in events if event['name'] == '[memory]']
    return [event['args']['Bytes'] for event in sorted(found, key=lambda event: event['ts'])]
