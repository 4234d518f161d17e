"""The GPU as its driver tells it, without torch: whether there is one, and what it does."""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from casvit_mm.errors import InputError

__all__ = ['check_gpu', 'other_processes', 'query', 'watching']

_LIBRARIES = ('nvcuda.dll',) if sys.platform == 'win32' else ('libcuda.so.1', 'libcuda.so')
_NO_GPU = (
    'gpu-report needs an NVIDIA GPU, and {why}. Without one: --smoke tries every step on the CPU'
)
# Names of nvidia-smi's columns; what an older one does not know is left out.
_FACTS = ('driver_version', 'clocks.max.sm', 'clocks.max.mem', 'power.limit', 'persistence_mode')
_MEANWHILE = ('clocks.sm', 'clocks.mem', 'temperature.gpu', 'power.draw', 'memory.used')
_THROTTLED = ('clocks_event_reasons.active', 'clocks_throttle_reasons.active')
# Bits of those reasons that slow a GPU down while it works; idling and set clocks are none.
_REASONS = {
    0x4: 'power limit',
    0x8: 'hardware slowdown',
    0x20: 'thermal limit (software)',
    0x40: 'thermal limit (hardware)',
    0x80: 'power brake',
}
_EVERY = 3.0  # seconds between two looks


def check_gpu() -> None:
    """Refuse a host without a GPU, at once: torch would take its seconds to find none.

    Raises:
        InputError: Saying whether the driver or the GPU is missing.
    """
    for name in _LIBRARIES:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
            raise InputError(_NO_GPU.format(why='its driver finds none'))
        return
    raise InputError(_NO_GPU.format(why=f'there is no driver of one here ({_LIBRARIES[0]})'))


def query(*columns: str) -> list[dict[str, str]]:
    """Return columns of ``nvidia-smi --query-gpu`` for each GPU; none where there is no such tool.

    Args:
        columns: Their names; none takes those that describe a GPU at rest.
    """
    found: list[dict[str, str]] = []
    for column in columns or (*_FACTS, *_MEANWHILE):
        lines = _smi(f'--query-gpu={column}')
        found = found or [{} for _ in lines]
        for gpu, line in zip(found, lines, strict=False):
            gpu[column] = line
    return found


def other_processes() -> list[str]:
    """Return what computes on the GPUs at this moment, as process and memory."""
    return _smi('--query-compute-apps=pid,process_name,used_memory')


def _smi(*arguments: str) -> list[str]:
    """Return the lines that nvidia-smi prints; none where it is missing or refuses."""
    tool = shutil.which('nvidia-smi')
    if tool is None:
        return []
    try:
        done = subprocess.run(
            [tool, *arguments, '--format=csv,noheader,nounits'],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in lines if line] if done.returncode == 0 else []


@contextmanager
def watching() -> Iterator[dict[str, Any]]:
    """Give a dict that holds, once the block is left, what the first GPU did during it.

    It has what :func:`summarise` returns, and is empty without nvidia-smi.
    """
    seen: dict[str, Any] = {}
    reasons = next((name for name in _THROTTLED if _smi(f'--query-gpu={name}')), None)
    if reasons is None:
        yield seen
        return
    columns = ','.join(('clocks.sm', 'power.draw', 'temperature.gpu', reasons))
    lines: list[str] = []
    over = threading.Event()

    # A look at a time: what nvidia-smi has printed in a loop of its own may be lost when it ends.
    def look() -> None:
        while not over.wait(_EVERY):
            lines.extend(_smi(f'--query-gpu={columns}', '--id=0'))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
        seen |= summarise('\n'.join(lines))


def summarise(text: str) -> dict[str, Any]:
    """Return what nvidia-smi's lines say of a span of time.

    ``sm_mhz`` and ``watts`` are medians over the half of the looks at which the GPU drew most, so
    that the start of a process does not count; ``celsius`` is the maximum, and ``throttled`` the
    reasons that slowed the GPU down.

    Args:
        text: Lines of clock in MHz, power in W, temperature in degrees, reasons in hexadecimal.
    """
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(',')]
        try:
            rows.append((*map(float, cells[:3]), int(cells[3], 16)))
        except (ValueError, IndexError):  # '[N/A]', and a line that was cut short
            continue
    if not rows:
        return {}
    busy = sorted(rows, key=lambda row: row[1])[len(rows) // 2 :]
    clocks, watts, celsius, reasons = zip(*busy, strict=True)
    met = [name for bit, name in _REASONS.items() if any(each & bit for each in reasons)]
    return dict(
        sm_mhz=statistics.median(clocks),
        watts=statistics.median(watts),
        celsius=max(celsius),
        throttled=met,
    )
