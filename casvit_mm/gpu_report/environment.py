"""Machine, driver, versions and commit that a report belongs to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

from casvit_mm.benchmark.host import facts
from casvit_mm.gpu_report.machine import other_processes, query

__all__ = ['describe', 'tests_folder']

_OPTIONAL = (
    *('mmpretrain', 'mmdet', 'mmseg', 'onnx', 'onnxruntime', 'tensorrt', 'triton', 'pytest'),
)


def describe(device: str) -> dict[str, Any]:
    """Return what a report belongs to.

    Args:
        device: ``'cuda'``, or ``'cpu'`` for a smoke run.

    Returns:
        What :func:`casvit_mm.benchmark.host.facts` returns, and ``gpus`` (their number, 0 on a
        CPU), ``capable`` (whether torch reaches the device), ``half`` (the form's word for half
        precision), ``tf32`` (whether convolutions in float32 compute in TF32, torch's default),
        ``nvidia_smi`` (columns of each GPU), ``others`` (processes on the GPUs),
        ``absent`` (optional packages) and ``tests`` (whether they are here).
    """
    gpus = torch.cuda.device_count() if device == 'cuda' and torch.cuda.is_available() else 0
    capable = device == 'cpu' or gpus > 0
    found = facts(device if capable else 'cpu', torch.get_num_threads())
    early = gpus and torch.cuda.get_device_capability() < (8, 0)
    return found | dict(
        gpus=gpus,
        capable=capable,
        half='fp16' if early else 'bf16',
        tf32=torch.backends.cudnn.allow_tf32,
        nvidia_smi=query() if gpus else [],
        others=other_processes() if gpus else [],
        absent=[name for name in _OPTIONAL if importlib.util.find_spec(name) is None],
        tests=(tests_folder() / 'conftest.py').is_file(),
    )


def tests_folder() -> Path:
    """Return the folder of the tests, which only a checkout has."""
    return Path(__file__).parents[2] / 'tests'
