"""The engines by the ending of their files."""

from __future__ import annotations

from pathlib import Path

from casvit_mm.deploy.engines.base import Engine, EngineOptions
from casvit_mm.deploy.engines.executorch import ExecuTorchEngine
from casvit_mm.deploy.engines.litert import LiteRtEngine
from casvit_mm.deploy.engines.mnn import MnnEngine
from casvit_mm.deploy.engines.ncnn import NcnnEngine
from casvit_mm.deploy.engines.onnxruntime import OnnxEngine
from casvit_mm.deploy.engines.openvino import OpenVinoEngine
from casvit_mm.deploy.engines.torch_export import TorchExportEngine
from casvit_mm.errors import InputError

__all__ = ['ENGINES', 'engine_of', 'is_exported', 'known_endings', 'open_engine']

ENGINES: tuple[type[Engine], ...] = (
    OnnxEngine,
    OpenVinoEngine,
    TorchExportEngine,
    NcnnEngine,
    MnnEngine,
    LiteRtEngine,
    ExecuTorchEngine,
)


def known_endings() -> str:
    """Return the endings of the files that the engines run, for a message."""
    return ', '.join(engine.suffix for engine in ENGINES)


def engine_of(path: str | Path) -> type[Engine] | None:
    """Return the engine that runs a file of this name; None if none does."""
    name = Path(path).name
    return next((engine for engine in ENGINES if name.endswith(engine.suffix)), None)


def is_exported(path: str | Path) -> bool:
    """Return whether a path is named as an exported file, and not as a checkpoint."""
    return engine_of(path) is not None or Path(path).suffix == '.mlpackage'


def open_engine(
    path: str | Path,
    threads: int | None = None,
    *,
    trusted: bool = False,
    device: str | None = None,
) -> Engine:
    """Load an exported file into the engine that its ending names.

    Args:
        path: Of any format that ``casvit-mm export`` writes, but ``.mlpackage``; what belongs to it
            stands beside it.
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
            f'This package runs {known_endings()}'
        )
    kind = engine_of(path)
    if kind is None:
        raise InputError(f'{path} is not an exported model; known are {known_endings()}')
    for file in kind.files(path):
        if not file.is_file():
            raise InputError(f'{file} does not exist; casvit-mm export writes it')
    if kind.executes and not trusted:
        raise InputError(
            f'{path} is not opened: torch reads .pt2 by pickle and eval, so the file could run '
            'code. Pass trusted=True if you know who wrote it; .onnx and .xml hold no code'
        )
    if device not in (None, 'cpu', 'cuda'):
        raise InputError(f'an exported file runs on cpu or cuda, got {device!r}')
    engine = kind(path, EngineOptions(threads, use_gpu=device != 'cpu'))
    if device == 'cuda' and 'cuda' not in engine.device:
        raise InputError(
            f'{path} cannot run on cuda here: only .onnx does, with pip install onnxruntime-gpu'
        )
    return engine
