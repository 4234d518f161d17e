"""The engines that run an exported file; each is imported only where it is used."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError
from casvit_mm.io import limited_memory

__all__ = [
    'ENGINES',
    'Engine',
    'EngineInput',
    'EngineOptions',
    'OnnxEngine',
    'OpenVinoEngine',
    'check_installed',
    'is_exported',
    'open_engine',
    'openvino_precisions',
    'require',
]

# NumPy's type of an input, by the names that onnxruntime and OpenVINO have for it.
_TYPES: dict[str, type[np.generic]] = {
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(uint8)': np.uint8,
    'tensor(int32)': np.int32,
    'tensor(int64)': np.int64,
    'f32': np.float32,
    'f16': np.float16,
    'u8': np.uint8,
    'i32': np.int32,
    'i64': np.int64,
}


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs a file.

    Attributes:
        threads: CPU threads that the engine may use; None leaves their number to the engine.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, in which OpenVINO computes; None takes the
            precision that the file was exported in.
        use_gpu: Whether onnxruntime may use a GPU.
    """

    threads: int | None = None
    precision: str | None = None
    use_gpu: bool = True


@dataclass(frozen=True)
class EngineInput:
    """What a file takes; files of ours take one.

    Attributes:
        name: Its name in the file.
        shape: Sizes of its axes; None where the file leaves one open.
        type: NumPy's type of its values.
    """

    name: str
    shape: tuple[int | None, ...]
    type: type[np.generic]

    def __str__(self) -> str:
        sizes = ', '.join('?' if size is None else str(size) for size in self.shape)
        return f'{self.name} {self.type.__name__} ({sizes})'


class Engine(Protocol):
    """A file that an engine has loaded.

    Attributes:
        device: Where it computes, for people to read.
    """

    device: str

    def __init__(self, path: Path, options: EngineOptions) -> None: ...

    @property
    def spec(self) -> Spec:
        """What the file says of itself.

        Raises:
            InputError: If ``tools/export.py`` did not write the file.
        """

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
    """A file of ``--format onnx`` in onnxruntime, on a GPU where onnxruntime has one.

    Attributes:
        inputs: What the file takes.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        ort = require('onnxruntime', 'deploy')
        settings = ort.SessionOptions()
        settings.log_severity_level = 3  # 2 warns of nodes that it removes by itself
        # Threads that wait busily for the next call would take time from everything else.
        settings.add_session_config_entry('session.force_spinning_stop', '1')
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        known = ['CUDAExecutionProvider'] * options.use_gpu + ['CPUExecutionProvider']
        providers = [name for name in known if name in ort.get_available_providers()]
        self._path = path
        with _loading(path):
            self._session = ort.InferenceSession(str(path), settings, providers=providers)
            self._names = [output.name for output in self._session.get_outputs()]
            meta = self._session.get_modelmeta().custom_metadata_map
        self._text = meta.get(KEY)
        on_gpu = 'CUDAExecutionProvider' in self._session.get_providers()
        self.device = f'onnxruntime, {"cuda" if on_gpu else "cpu"}'
        self.inputs = tuple(
            EngineInput(
                one.name,
                tuple(size if isinstance(size, int) else None for size in one.shape),
                _numpy_type(one.type, path),
            )
            for one in self._session.get_inputs()
        )

    @cached_property
    def spec(self) -> Spec:
        """What the file says of itself."""
        return Spec.from_json(self._text, self._path)

    def bind(self, *arrays: np.ndarray) -> Callable[[], list[np.ndarray]]:
        """Return a call that runs the file on its inputs, for timing."""
        names = [one.name for one in self.inputs]
        return partial(self._session.run, self._names, dict(zip(names, arrays, strict=True)))

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with _running(self._path):
            return dict(zip(self._names, self.bind(image)(), strict=True))


def openvino_precisions() -> list[str]:
    """Return what OpenVINO computes in on this processor, such as FP32, BF16 and INT8.

    Raises:
        InputError: If OpenVINO is not installed.
    """
    core = require('openvino', 'export').Core()
    return core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


class OpenVinoEngine:
    """A pair of files of ``--format openvino``, or an ONNX file, in OpenVINO on the CPU.

    Attributes:
        inputs: What the file takes.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, in which OpenVINO is told to compute.
    """

    device = 'OpenVINO, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        openvino = require('openvino', 'export')
        core = openvino.Core()
        self._path = path
        with _loading(path):
            model = core.read_model(path)
            self._text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        self._computes_in = openvino_precisions()
        self.precision = options.precision or self._exported_precision()
        self.inputs = tuple(
            EngineInput(
                one.any_name if one.names else f'input {number}',
                tuple(size.get_length() if size.is_static else None for size in one.partial_shape),
                _numpy_type(one.element_type.to_string(), path),
            )
            for number, one in enumerate(model.inputs)
        )
        settings: dict[str, Any] = dict(
            PERFORMANCE_HINT='LATENCY',
            # Without it OpenVINO computes in bfloat16 wherever the processor can.
            INFERENCE_PRECISION_HINT=dict(fp32='f32', fp16='f16', bf16='bf16')[self.precision],
        )
        if options.threads is not None:
            settings['INFERENCE_NUM_THREADS'] = options.threads
        with _loading(path):
            self._request = core.compile_model(model, 'CPU', settings).create_infer_request()

    def _exported_precision(self) -> str:
        """Return the precision that the file names; eight-bit and foreign files run in fp32."""
        try:
            precision = self.spec.precision
        except InputError:
            return 'fp32'
        return precision if precision in ('bf16', 'fp16') else 'fp32'

    @cached_property
    def spec(self) -> Spec:
        """What the file says of itself."""
        return Spec.from_json(self._text, self._path)

    def check_precision(self) -> None:
        """Refuse a precision that OpenVINO replaces by float32 on this CPU.

        Raises:
            InputError: Naming what the CPU has.
        """
        if self.precision != 'fp32' and self.precision.upper() not in self._computes_in:
            raise InputError(
                f'openvino+{self.precision}: this CPU computes only in '
                f'{", ".join(self._computes_in)}'
            )

    def bind(self, *arrays: np.ndarray) -> Callable[[], Any]:
        """Return a call that runs the file on its inputs, for timing.

        The next call overwrites its outputs.
        """
        return lambda: self._request.infer(list(arrays), share_inputs=True, share_outputs=True)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with _running(self._path):
            outputs = self.bind(image)()
            return {port.get_any_name(): values.copy() for port, values in outputs.items()}


class TorchExportEngine:
    """A file of ``--format torch-export``; needs torch and torchvision, and no mm package.

    Only for files of a known origin: reading one can run code that it holds.
    """

    device = 'torch, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._torch = require('torch', 'onedl')
        require('torchvision', 'onedl')  # defines the operators nms and roi_align
        if options.threads is not None:
            self._torch.set_num_threads(options.threads)
        extra = {f'{KEY}.json': ''}
        with _loading(path):
            program = self._torch.export.load(str(path), extra_files=extra)
        self._path = path
        self._text = extra[f'{KEY}.json']
        self._module = program.module()

    @cached_property
    def spec(self) -> Spec:
        """What the file says of itself."""
        return Spec.from_json(self._text, self._path)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with _running(self._path), self._torch.inference_mode():
            outputs = self._module(self._torch.from_numpy(image))
        return {name: output.numpy() for name, output in outputs.items()}


ENGINES: dict[str, type[Engine]] = {
    '.onnx': OnnxEngine,
    '.xml': OpenVinoEngine,
    '.pt2': TorchExportEngine,
}


def is_exported(path: str | Path) -> bool:
    """Return whether a path is named as an exported file, and not as a checkpoint."""
    return Path(path).suffix in (*ENGINES, '.mlpackage')


def open_engine(
    path: str | Path,
    threads: int | None = None,
    *,
    trusted: bool = False,
    device: str | None = None,
) -> Engine:
    """Load an exported file into the engine that its suffix names.

    Args:
        path: ``.onnx``, ``.xml`` (with its ``.bin`` beside it) or ``.pt2``.
        threads: CPU threads of the engine; None leaves their number to the engine.
        trusted: Whether code in the file may run. Only ``.pt2`` can hold any.
        device: ``'cpu'`` or ``'cuda'``; None lets onnxruntime take a GPU where it can use one.

    Raises:
        InputError: If the file is missing, damaged or of an unknown kind, its engine is not
            installed or does not run on ``device``, or it could run code and is not trusted.
    """
    path = Path(path)
    if path.suffix == '.mlpackage':
        raise InputError(
            f'{path} runs on Apple devices: open it in Xcode or with coremltools. '
            f'This package runs {", ".join(ENGINES)}'
        )
    if path.suffix not in ENGINES:
        raise InputError(f'{path} is not an exported model; known are {", ".join(ENGINES)}')
    needed = [path, path.with_suffix('.bin')] if path.suffix == '.xml' else [path]
    for file in needed:
        if not file.is_file():
            raise InputError(f'{file} does not exist; tools/export.py writes it')
    if path.suffix == '.pt2' and not trusted:
        raise InputError(
            f'{path} is not opened: torch reads .pt2 by pickle and eval, so the file could run '
            'code. Pass trusted=True if you know who wrote it; .onnx and .xml hold no code'
        )
    if device not in (None, 'cpu', 'cuda'):
        raise InputError(f'an exported file runs on cpu or cuda, got {device!r}')
    engine = ENGINES[path.suffix](path, EngineOptions(threads, use_gpu=device != 'cpu'))
    if device == 'cuda' and 'cuda' not in engine.device:
        raise InputError(
            f'{path} cannot run on cuda here: only .onnx does, with pip install onnxruntime-gpu'
        )
    return engine


def _numpy_type(name: str, path: Path) -> type[np.generic]:
    if name not in _TYPES:
        raise InputError(f'{path} takes an input of type {name}; known are {", ".join(_TYPES)}')
    return _TYPES[name]


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Turn what an engine raises over a file into an InputError.

    Engines have a dozen errors of their own, without a common parent; and torch.export fails in
    zip, JSON or its schema.
    """
    try:
        with limited_memory(path):
            yield
    except Exception as error:
        raise InputError(
            f'{path} cannot be loaded, it may be cut short: {_first_line(error)}\n'
            'Copy it again, or export it again with tools/export.py'
        ) from error


@contextmanager
def _running(path: Path) -> Iterator[None]:
    """Turn what an engine raises while it computes into an InputError."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f'{path} cannot be run on this input: {_first_line(error)}\n'
            'Its graph is damaged, or it takes other inputs than it says. Export it again'
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    # OpenVINO begins with the places in its source.
    said = [line for line in lines if line and not line.startswith('Exception from ')]
    return (said or [repr(error)])[0]
