"""Whether bfloat16 and eight bits pay on this processor: measured on a small real network."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from mmengine.config import Config

from casvit_mm.deploy.engines import EngineOptions, OpenVinoEngine, openvino_precisions
from casvit_mm.deploy.spec import Spec
from casvit_mm.engine.timing import Schedule, WallTimer, speed_up, time_calls
from casvit_mm.export.export import write_graph
from casvit_mm.export.formats import FORMATS
from casvit_mm.export.graphs import build_graph
from casvit_mm.export.quantize import quantize_openvino
from casvit_mm.models import CASViT

__all__ = ['precision_gains']

_SCHEDULE = Schedule(rounds=9, calls=3, settle=0.05, seed=0)
_SIZE = (224, 224)


def precision_gains(arch: str | dict = 'xs') -> dict[str, float]:
    """Return how many times as fast as in float32 OpenVINO runs a backbone, by precision.

    Args:
        arch: Of the CAS-ViT that is measured, with random weights.

    Returns:
        ``'bf16'`` and ``'int8'``, of those that the processor has.

    Raises:
        InputError: If OpenVINO or NNCF is not installed.
    """
    kind = FORMATS['openvino']
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    spec = Spec('backbone', (), (), mean, std, rgb=True, size=_SIZE)
    model = SimpleNamespace(backbone=CASViT(arch, out_indices=(3,)).eval())
    image = np.random.default_rng(0).integers(0, 256, (1, 3, *_SIZE), dtype=np.uint8)

    def write(precision: str, path: Path) -> None:
        form = replace(spec, precision=precision)
        write_graph(kind, build_graph(Config(), model, form), form, path)

    with tempfile.TemporaryDirectory() as folder:
        path, quantized = Path(folder, 'model.xml'), Path(folder, 'int8.xml')
        write('fp32', path)
        engines = {
            precision: OpenVinoEngine(path, EngineOptions(precision=precision))
            for precision in ('fp32', 'bf16')
            if precision.upper() in openvino_precisions()
        }
        write('int8', quantized)
        with contextlib.redirect_stdout(io.StringIO()):  # of NNCF's progress
            quantize_openvino(quantized, [image] * 4)
        engines['int8'] = OpenVinoEngine(quantized, EngineOptions())
        calls = [engine.bind(image) for engine in engines.values()]
        plain, *others = time_calls(calls, WallTimer(), _SCHEDULE)
    names = [name for name in engines if name != 'fp32']
    return {
        name: speed_up(plain, seconds)['median']
        for name, seconds in zip(names, others, strict=True)
    }
