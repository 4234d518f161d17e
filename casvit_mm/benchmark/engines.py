"""onnxruntime and OpenVINO as functions of arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from casvit_mm.deploy.engines import (
    Engine,
    EngineOptions,
    OnnxEngine,
    OpenVinoEngine,
    check_installed,
)
from casvit_mm.errors import InputError
from casvit_mm.export.onnx_file import trace_to_onnx

__all__ = ['open_file', 'run_exported']

_ENGINES: dict[str, type[Engine]] = {'onnxruntime': OnnxEngine, 'openvino': OpenVinoEngine}


def open_file(
    path: Path, engine: type[Engine], threads: int, precision: str | None = None
) -> Engine:
    """Load an exported file, to run on the CPU.

    Args:
        path: Of a format that the engine reads; OpenVINO takes ``.onnx`` as well.
        engine: That runs it.
        threads: CPU threads that the engine may use.
        precision: In which it is told to compute; None takes the one that the file was exported
            in.

    Raises:
        InputError: If the engine is not installed, cannot read the file, or lacks the precision
            here.
    """
    if precision not in (None, *engine.precisions):
        has = (
            f'has {", ".join(engine.precisions)}' if engine.precisions else 'takes that of its file'
        )
        raise InputError(f'{path}+{precision}: {engine.name} {has}')
    for file in engine.files(path) if path.name.endswith(engine.suffix) else [path]:
        if not file.is_file():
            raise InputError(f'{file} does not exist; tools/export.py writes such files')
    opened = engine(path, EngineOptions(threads, precision, use_gpu=False))
    opened.check_precision()
    return opened


def run_exported(
    model: nn.Module, x: Tensor, engine: str, threads: int, precision: str
) -> Callable[[], object]:
    """Export a model into a temporary file and return a call that runs it in an engine.

    Raises:
        InputError: As :func:`casvit_mm.export.onnx_file.trace_to_onnx` and :func:`open_file`.
    """
    check_installed(engine, 'export')
    kind = _ENGINES[engine]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        trace_to_onnx(model, x, path)
        told = precision if kind.precisions else None
        return open_file(path, kind, threads, told).bind(x.numpy())
