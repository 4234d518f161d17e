"""onnxruntime and OpenVINO as functions of arrays."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from casvit_mm.deploy.engines import check_installed, require
from casvit_mm.errors import InputError
from casvit_mm.export.onnx_file import trace_to_onnx

__all__ = ['ENGINE_OF_SUFFIX', 'OpenedFile', 'open_file', 'run_exported']

ENGINE_OF_SUFFIX = {'.onnx': 'onnxruntime', '.xml': 'openvino'}
# By the names of onnxruntime and of OpenVINO.
_TYPES: dict[str, type[np.generic]] = {
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(uint8)': np.uint8,
    'f32': np.float32,
    'f16': np.float16,
    'u8': np.uint8,
}


@dataclass(frozen=True)
class OpenedFile:
    """An exported file in its engine.

    Attributes:
        shape: (B, 3, H, W) of its input; None where the file leaves a size open.
        integer: Whether it takes BGR pixels, and not normalised RGB values.
        start: Makes the call that runs it on an array.
    """

    shape: tuple[int | None, ...]
    integer: bool
    start: Callable[[np.ndarray], Callable[[], object]]


def open_file(path: Path, engine: str, threads: int, precision: str | None = None) -> OpenedFile:
    """Load an exported file.

    Args:
        path: Of ``.onnx``, or of ``.xml`` for OpenVINO.
        engine: ``'onnxruntime'`` or ``'openvino'``.
        threads: That the engine may use.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, which OpenVINO computes in; None takes what
            the file was exported for.

    Raises:
        InputError: If the engine is absent, cannot read the file, or lacks the precision here.
    """
    if not path.is_file():
        raise InputError(f'{path} does not exist; tools/export.py writes such files')
    opened = _open_onnx if engine == 'onnxruntime' else _open_openvino
    return opened(path, threads, precision)


def _open_onnx(path: Path, threads: int, precision: str | None) -> OpenedFile:
    runtime = require('onnxruntime', 'export')
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # 2 warns of nodes that it removes by itself
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that waits busily would take time from whoever is timed next.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    try:
        session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime has a dozen of its own, without a common parent
        raise _unreadable(path, error) from error
    given = session.get_inputs()[0]
    names = [output.name for output in session.get_outputs()]
    sizes = tuple(size if isinstance(size, int) else None for size in given.shape)
    kind = _input_type(given.type, path)
    return OpenedFile(
        _checked(sizes, path),
        kind is np.uint8,
        lambda array: partial(session.run, names, {given.name: array.astype(kind)}),
    )


def _open_openvino(path: Path, threads: int, precision: str | None) -> OpenedFile:
    openvino = require('openvino', 'export')
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    precision = precision or _exported_for(model)
    capabilities = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if precision != 'fp32' and precision.upper() not in capabilities:
        raise InputError(
            f'openvino+{precision}: this CPU computes only in {", ".join(capabilities)}'
        )
    hints = dict(
        PERFORMANCE_HINT='LATENCY',
        INFERENCE_NUM_THREADS=threads,
        # Left alone, it computes in bfloat16 wherever the processor can.
        INFERENCE_PRECISION_HINT=dict(fp32='f32', fp16='f16').get(precision, precision),
    )
    given = model.inputs[0]
    sizes = tuple(size.get_length() if size.is_static else None for size in given.partial_shape)
    kind = _input_type(given.element_type.to_string(), path)
    request = core.compile_model(model, 'CPU', hints).create_infer_request()

    def start(array: np.ndarray) -> Callable[[], object]:
        typed = array.astype(kind)
        return lambda: request.infer([typed], share_inputs=True, share_outputs=True)

    return OpenedFile(_checked(sizes, path), kind is np.uint8, start)


def _exported_for(model: Any) -> str:
    """Return the precision that tools/export.py has noted in an OpenVINO file."""
    if not model.has_rt_info('casvit_mm'):
        return 'fp32'
    noted = json.loads(model.get_rt_info('casvit_mm').astype(str))['precision']
    return noted if noted in ('bf16', 'fp16') else 'fp32'


def _checked(sizes: tuple[int | None, ...], path: Path) -> tuple[int | None, ...]:
    if len(sizes) != 4:
        raise InputError(f'{path} takes an input of {len(sizes)} axes; known are (B, 3, H, W)')
    return sizes


def _input_type(name: str, path: Path) -> type[np.generic]:
    if name not in _TYPES:
        raise InputError(f'{path} takes an input of type {name}; known are {", ".join(_TYPES)}')
    return _TYPES[name]


def _unreadable(path: Path, error: Exception) -> InputError:
    lines = str(error).strip().splitlines()
    return InputError(f'{path} cannot be loaded: {lines[0] if lines else error!r}')


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
