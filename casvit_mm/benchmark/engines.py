"""onnxruntime and OpenVINO as functions of arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from casvit_mm.deploy.engines import EngineOptions, OnnxEngine, OpenVinoEngine, check_installed
from casvit_mm.errors import InputError
from casvit_mm.export.onnx_file import trace_to_onnx

__all__ = ['ENGINE_OF_SUFFIX', 'OpenedFile', 'open_file', 'run_exported']

ENGINE_OF_SUFFIX = {'.onnx': 'onnxruntime', '.xml': 'openvino'}


@dataclass(frozen=True)
class OpenedFile:
    """An exported file in its engine.

    Attributes:
        engine: Runs the file.
    """

    engine: OnnxEngine | OpenVinoEngine

    @property
    def shape(self) -> tuple[int | None, ...]:
        """(B, 3, H, W) of the input; None where the file leaves a size open."""
        return self.engine.input_shape

    @property
    def integer(self) -> bool:
        """Whether the input is BGR pixels, and not normalised RGB values."""
        return self.engine.input_type is np.uint8

    def start(self, array: np.ndarray) -> Callable[[], object]:
        """Return a call that runs the file on an array."""
        return self.engine.bind(array.astype(self.engine.input_type))


def open_file(path: Path, engine: str, threads: int, precision: str | None = None) -> OpenedFile:
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
    opened: OnnxEngine | OpenVinoEngine
    if engine == 'onnxruntime':
        opened = OnnxEngine(path, options)
    else:
        opened = OpenVinoEngine(path, options)
        opened.check_precision()
    axes = len(opened.input_shape)
    if axes != 4:
        raise InputError(f'{path} takes an input of {axes} axes; known are (B, 3, H, W)')
    return OpenedFile(opened)


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
        return open_file(path, engine, threads, precision).start(x.numpy())
