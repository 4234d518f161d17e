"""The machine and the versions that measurements belong to."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ['Host', 'facts', 'load']

_PACKAGES = ('torch', 'timm', 'onnxruntime', 'openvino', 'casvit_mm')


@dataclass(frozen=True)
class Host:
    """Where a run takes place, and on what picture.

    Attributes:
        device: ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.
        threads: Of the CPU, for PyTorch and for each engine.
        image: File of the picture that is put in; None puts in noise.
    """

    device: str = 'cpu'
    threads: int = 1
    image: str | None = None


def facts(device: str, threads: int) -> dict[str, Any]:
    """Return machine, versions, commit and moment.

    Args:
        device: The device that is timed.
        threads: Of the CPU.
    """
    found: dict[str, Any] = dict(
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        commit=_commit(),
        cpu=_processor(),
        cores=os.cpu_count(),
        threads=threads,
        device=device,
        load=load(),
        python=platform.python_version(),
    )
    if device.startswith('cuda'):
        gpu = torch.cuda.get_device_properties(device)
        found['gpu'] = gpu.name
        found['gpu_memory'] = gpu.total_memory
        found['capability'] = f'{gpu.major}.{gpu.minor}'
        found['cuda'] = torch.version.cuda
        found['cudnn'] = torch.backends.cudnn.version()
    installed = {dist.metadata['Name'] for dist in metadata.distributions()}
    found |= {name: metadata.version(name) for name in _PACKAGES if name in installed}
    return found


def load() -> float | None:
    """Return the processes that wanted a core in the last minute; None where none can tell."""
    return round(os.getloadavg()[0], 1) if hasattr(os, 'getloadavg') else None


def _processor() -> str:
    path = Path('/proc/cpuinfo')
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of this code; None where it does not lie in a repository."""
    command = ['git', 'describe', '--always', '--dirty']
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
