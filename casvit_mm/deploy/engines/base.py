"""What every engine has in common: how it is loaded, fed and asked what its file says."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.io import limited_memory

__all__ = [
    'Engine',
    'EngineInput',
    'EngineOptions',
    'check_installed',
    'loading',
    'numpy_type',
    'require',
    'running',
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


class Engine(ABC):
    """A file that an engine has loaded.

    A subclass reads its file within :func:`loading` and keeps the text of the description.

    Attributes:
        name: The engine's name, as benchmarks and ``doctor`` call it.
        suffix: With which the name of its file ends.
        beside: Endings of the files that must stand beside it, in the place of ``suffix``.
        package: Package that it imports.
        extra: Extra of this package that installs it.
        executes: Whether a file could run code as it is read.
        precisions: In which it can be told to compute, whatever the file was exported in.
        device: Where it computes, for people to read.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    beside: ClassVar[tuple[str, ...]] = ()
    package: ClassVar[str]
    extra: ClassVar[str]
    executes: ClassVar[bool] = False
    precisions: ClassVar[tuple[str, ...]] = ()
    device: str
    _path: Path
    _text: str | None  # of the Spec

    @abstractmethod
    def __init__(self, path: Path, options: EngineOptions) -> None: ...

    @classmethod  # noqa: B027  # most engines run beside anything
    def check(cls) -> None:
        """Refuse an installation in which the engine, whether it is there or not, cannot run.

        Raises:
            InputError: Naming what it does not go with.
        """

    @classmethod
    def files(cls, path: Path) -> list[Path]:
        """Return the files that belong to ``path``, itself last."""
        stem = path.name.removesuffix(cls.suffix)
        return [*(path.with_name(stem + ending) for ending in cls.beside), path]

    @cached_property
    def spec(self) -> Spec:
        """What the file says of itself.

        Raises:
            InputError: If ``casvit-mm export`` did not write the file.
        """
        return Spec.from_json(self._text, self._path)

    @cached_property
    def inputs(self) -> tuple[EngineInput, ...]:
        """What the file takes; by its description, where the engine does not tell."""
        shape = (1, 3, *self.spec.size) if self.spec.size else (None, 3, None, None)
        kind = np.uint8 if self.spec.preprocess == 'inside' else np.float32
        return (EngineInput('image', shape, kind),)

    @abstractmethod
    def bind(self, *arrays: np.ndarray) -> Callable[[], Any]:
        """Return a call that runs the file on its inputs, for timing.

        The next call may overwrite its outputs.
        """

    @abstractmethod
    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``.

        Raises:
            InputError: If the engine fails on it.
        """

    def check_precision(self) -> None:  # noqa: B027  # most engines take what they are told
        """Refuse a precision that the engine replaces by another one here.

        Raises:
            InputError: Naming what the processor has.
        """


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


def numpy_type(name: str, path: Path) -> type[np.generic]:
    """Return NumPy's type by the name that an engine has for it.

    Raises:
        InputError: If it is none of those that an image can have.
    """
    if name not in _TYPES:
        raise InputError(f'{path} takes an input of type {name}; known are {", ".join(_TYPES)}')
    return _TYPES[name]


@contextmanager
def loading(path: Path) -> Iterator[None]:
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
            'Copy it again, or export it again with casvit-mm export'
        ) from error


@contextmanager
def running(path: Path) -> Iterator[None]:
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
