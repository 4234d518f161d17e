"""The engines that run an exported file; each is imported only where it is used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError

__all__ = ['ENGINES', 'Engine', 'check_installed', 'open_engine', 'require']


class Engine(Protocol):
    """A loaded file.

    Attributes:
        spec: What the file says of itself.
    """

    spec: Spec

    def __init__(self, path: Path, threads: int | None = None) -> None: ...

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""


def check_installed(package: str, extra: str) -> None:
    """Refuse to go on without an optional package.

    Raises:
        InputError: Naming the extra that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{package} is not installed. Install it: pip install '.[{extra}]', or pip install "
            f'{package}'
        )


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        InputError: Naming the extra that installs it.
    """
    check_installed(package, extra)
    return importlib.import_module(package)


class OnnxEngine:
    """A file of ``--format onnx`` in onnxruntime, on a GPU where onnxruntime has one."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        ort = require('onnxruntime', 'deploy')
        options = ort.SessionOptions()
        options.log_severity_level = 3  # 2 warns of nodes that it removes by itself
        if threads is not None:
            options.intra_op_num_threads = threads
        wanted = ('CUDAExecutionProvider', 'CPUExecutionProvider')
        providers = [name for name in wanted if name in ort.get_available_providers()]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime has a dozen of its own, without a common parent
            raise _damaged(path, error) from error
        meta = self._session.get_modelmeta().custom_metadata_map
        self.spec = Spec.from_json(meta.get(KEY), path)
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._session.run(self._names, {'image': image})
        return dict(zip(self._names, outputs, strict=True))


class OpenVinoEngine:
    """A pair of files of ``--format openvino``, on the CPU."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        openvino = require('openvino', 'export')
        try:
            model = openvino.Core().read_model(path)
        except RuntimeError as error:
            raise _damaged(path, error) from error
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        self.spec = Spec.from_json(text, path)
        # Left alone, the CPU plugin computes in bfloat16 wherever the processor can.
        kinds = dict(bf16='bf16', fp16='f16')
        config: dict[str, Any] = dict(
            PERFORMANCE_HINT='LATENCY',
            INFERENCE_PRECISION_HINT=kinds.get(self.spec.precision, 'f32'),
        )
        if threads is not None:
            config['INFERENCE_NUM_THREADS'] = threads
        self._model = openvino.Core().compile_model(model, 'CPU', config)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._model(image)
        return {port.get_any_name(): outputs[port].copy() for port in self._model.outputs}


class TorchExportEngine:
    """A file of ``--format torch-export``; needs torch and torchvision, and no mm package.

    Only for files of a known origin: reading one can run code that it holds.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._torch = require('torch', 'onedl')
        require('torchvision', 'onedl')  # defines the operators nms and roi_align
        if threads is not None:
            self._torch.set_num_threads(threads)
        extra = {f'{KEY}.json': ''}
        try:
            program = self._torch.export.load(str(path), extra_files=extra)
        except Exception as error:  # a damaged file fails in zip, JSON or the schema
            raise _damaged(path, error) from error
        self.spec = Spec.from_json(extra[f'{KEY}.json'], path)
        self._module = program.module()

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        with self._torch.inference_mode():
            outputs = self._module(self._torch.from_numpy(image))
        return {name: output.numpy() for name, output in outputs.items()}


ENGINES: dict[str, type[Engine]] = {
    '.onnx': OnnxEngine,
    '.xml': OpenVinoEngine,
    '.pt2': TorchExportEngine,
}


def open_engine(path: str | Path, threads: int | None = None, *, trusted: bool = False) -> Engine:
    """Load an exported file into the engine that its suffix names.

    Args:
        path: ``.onnx``, ``.xml`` (with its ``.bin`` beside it) or ``.pt2``.
        threads: Of the engine; None leaves it to the engine.
        trusted: Whether code in the file may run. Only ``.pt2`` can hold any.

    Raises:
        InputError: If the file is missing, damaged or of no known kind, its engine is not
            installed, or it could run code and is not trusted.
    """
    path = Path(path)
    if path.suffix == '.mlpackage':
        raise InputError(
            f'{path} runs on Apple devices: open it in Xcode or with coremltools. '
            f'This package runs {", ".join(ENGINES)}'
        )
    if path.suffix not in ENGINES:
        raise InputError(f'{path} is no exported model; known are {", ".join(ENGINES)}')
    needed = [path, path.with_suffix('.bin')] if path.suffix == '.xml' else [path]
    for file in needed:
        if not file.is_file():
            raise InputError(f'{file} does not exist; tools/export.py writes it')
    if path.suffix == '.pt2' and not trusted:
        raise InputError(
            f'{path} is not opened: torch reads .pt2 by pickle and eval, so the file could run '
            'code. Pass trusted=True if you know who wrote it; .onnx and .xml hold no code'
        )
    return ENGINES[path.suffix](path, threads)


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()
    return InputError(
        f'{path} cannot be loaded, it may be cut short: {reason[0] if reason else error!r}\n'
        'Copy it again, or export it again with tools/export.py'
    )
