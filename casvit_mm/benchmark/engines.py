"""onnxruntime and OpenVINO as functions of arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from casvit_mm.cli import job_command
from casvit_mm.deploy.engines import (
    Engine,
    EngineOptions,
    OnnxEngine,
    OpenVinoEngine,
    check_installed,
    require,
)
from casvit_mm.errors import InputError
from casvit_mm.export.onnx_file import trace_to_onnx

__all__ = ['bind_on_device', 'gpu_providers', 'open_file', 'run_exported']

_ENGINES: dict[str, type[Engine]] = {'onnxruntime': OnnxEngine, 'openvino': OpenVinoEngine}
_CUDA, _TENSORRT = 'CUDAExecutionProvider', 'TensorrtExecutionProvider'


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
            raise InputError(f'{file} does not exist; {job_command("export")} writes such files')
    opened = engine(path, EngineOptions(threads, precision, use_gpu=False))
    opened.check_precision()
    return opened


def run_exported(
    model: nn.Module, x: Tensor, engine: str, threads: int, precision: str, device: str = 'cpu'
) -> Callable[[], object]:
    """Export a model into a temporary file and return a call that runs it in an engine.

    On a GPU input and outputs stay in its memory.

    Args:
        model: In float32, on the CPU.
        x: Its input in float32, likewise.
        engine: ``'onnxruntime'``, ``'tensorrt'`` or ``'openvino'``.
        threads: CPU threads that the engine may use.
        precision: That it computes in.
        device: ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.

    Raises:
        InputError: As :func:`casvit_mm.export.onnx_file.trace_to_onnx` and :func:`open_file`, or if
            onnxruntime does not reach the GPU.
    """
    check_installed('onnxruntime' if engine == 'tensorrt' else engine, 'export')
    if device != 'cpu':
        gpu_providers(engine, precision)  # before the export, which takes its time
    if engine == 'onnxruntime' and precision == 'fp16':
        # TensorRT takes float32 and chooses by itself. Not every CPU traces a model in float16.
        model, x = model.to(device).half(), x.to(device).half()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        trace_to_onnx(model, x, path)
        if device == 'cpu':
            kind = _ENGINES[engine]
            told = precision if kind.precisions else None
            return open_file(path, kind, threads, told).bind(x.numpy())
        return _bind_on_gpu(path, x, engine, precision, int(device.partition(':')[2] or 0))


def gpu_providers(engine: str, precision: str, gpu: int = 0) -> list[tuple[str, dict[str, object]]]:
    """Return onnxruntime's providers of a GPU, the preferred first, with their options.

    Args:
        engine: ``'onnxruntime'`` or ``'tensorrt'``, which leaves to CUDA what it cannot run.
        precision: ``'fp16'`` allows TensorRT to compute in it.
        gpu: Number of the GPU.

    Raises:
        InputError: If this onnxruntime was built without them.
    """
    wanted: list[tuple[str, dict[str, object]]] = [(_CUDA, dict(device_id=gpu))]
    if engine == 'tensorrt':
        half = precision == 'fp16'
        wanted.insert(0, (_TENSORRT, dict(device_id=gpu, trt_fp16_enable=half)))
    available = require('onnxruntime', 'export').get_available_providers()
    for name, _ in wanted:
        if name not in available:
            raise InputError(
                f'this onnxruntime has no {name}: pip uninstall onnxruntime, then pip install '
                'onnxruntime-gpu'
            )
    return wanted


def _bind_on_gpu(
    path: Path, x: Tensor, engine: str, precision: str, gpu: int
) -> Callable[[], object]:
    """Return a call that runs a file on an input in the memory of a GPU, and waits for its end.

    Raises:
        InputError: If onnxruntime does not reach the GPU.
    """
    ort = require('onnxruntime', 'export')
    providers = gpu_providers(engine, precision, gpu)
    settings = ort.SessionOptions()
    settings.log_severity_level = 3  # 2 warns of nodes that it removes by itself
    session = ort.InferenceSession(str(path), settings, providers=providers)
    wanted = providers[0][0]
    if wanted not in session.get_providers():  # onnxruntime goes on without those that do not load
        raise InputError(
            f'onnxruntime cannot load {wanted}: it needs the libraries of CUDA, cuDNN or TensorRT '
            'in the versions that its documentation names, on LD_LIBRARY_PATH'
        )
    return bind_on_device(session, x.cpu().numpy(), 'cuda', gpu)


def bind_on_device(session: Any, array: np.ndarray, kind: str, number: int) -> Callable[[], object]:
    """Return a call that runs a session; its input and its outputs stay where it computes.

    Args:
        session: Of onnxruntime, with one input.
        array: The input.
        kind: ``'cpu'`` or ``'cuda'``.
        number: Of the device of that kind.
    """
    ort = require('onnxruntime', 'export')
    binding = session.io_binding()
    (name,) = (one.name for one in session.get_inputs())
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, kind, number))
    for output in session.get_outputs():
        binding.bind_output(output.name, kind, number)
    return partial(session.run_with_iobinding, binding)
