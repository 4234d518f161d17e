"""onnxruntime and OpenVINO as functions of arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from casvit_mm.deploy.engines import EngineOptions, OnnxEngine, OpenVinoEngine, check_installed
from casvit_mm.errors import InputError
from casvit_mm.export.onnx_file import trace_to_onnx

__all__ = ['ENGINE_OF_SUFFIX', 'open_file', 'run_exported']

ENGINE_OF_SUFFIX = {'.onnx': 'onnxruntime', '.xml': 'openvino'}


def open_file(
    path: Path, engine: str, threads: int, precision: str | None = None
) -> OnnxEngine | OpenVinoEngine:
    """Load an exported file, to run on the CPU.

    Args:
        path: Of ``.onnx``, or of ``.xml`` for OpenVINO.
        engine: ``'onnxruntime'`` or ``'openvino'``.
        threads: CPU threads that the engine may use.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, in which OpenVINO computes; None takes the
            precision that the file was exported in.

    Raises:
        InputError: If the engine is not installed, cannot read the file, or lacks the precision
            here.
    """
    if not path.is_file():
        raise InputError(f'{path} does not exist; tools/export.py writes such files')
    options = EngineOptions(threads, precision, use_gpu=False)
    if engine == 'onnxruntime':
        return OnnxEngine(path, options)
    opened = OpenVinoEngine(path, options)
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        trace_to_onnx(model, x, path)
        return open_file(path, engine, threads, precision).bind(x.numpy())
