"""Files of MNN, which runs on the processors and GPUs of phones, on the CPU."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.engines.base import Engine, EngineOptions, loading, require, running
from casvit_mm.errors import InputError

__all__ = ['MnnEngine']

# MNN's names of what it may compute in, by the precision that it is told.
_LEVELS = dict(fp32='high', fp16='low', bf16='low_bf16')


class MnnEngine(Engine):
    """A ``.mnn`` file in MNN on the CPU.

    Attributes:
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``, in which MNN may compute; a processor
            without it computes in float32.
    """

    name = 'mnn'
    suffix = '.mnn'
    package = 'MNN'
    extra = 'mnn'
    precisions = tuple(_LEVELS)
    device = 'MNN, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._path = path
        with _silent():
            mnn = require(self.package, self.extra)
        self._nn, self._expr = mnn.nn, mnn.expr
        with loading(path), _silent():
            described = self._load('fp32', options.threads).get_info()
        self._text = described.get('bizCode')
        self._names = list(described['outputNames'])
        self.precision = options.precision or self._exported_precision()
        with loading(path), _silent():
            self._module = self._load(self.precision, options.threads)

    def _exported_precision(self) -> str:
        """Return the precision that the file names; foreign files run in fp32."""
        try:
            precision = self.spec.precision
        except InputError:
            return 'fp32'
        return precision if precision in _LEVELS else 'fp32'

    def _load(self, precision: str, threads: int | None) -> Any:
        settings: dict[str, Any] = dict(backend='CPU', precision=_LEVELS[precision])
        if threads is not None:
            settings['numThread'] = threads
        self._manager = self._nn.create_runtime_manager((settings,))
        # Empty lists take the inputs and outputs that the file names.
        return self._nn.load_module_from_file(
            str(self._path), [], [], runtime_manager=self._manager
        )

    def bind(self, *arrays: np.ndarray) -> Callable[[], list[np.ndarray]]:
        """Return a call that runs the file on its input, for timing."""
        (image,) = arrays
        pixels = np.ascontiguousarray(image, np.float32)
        expr = self._expr
        tensor = expr.const(pixels, list(pixels.shape), expr.NCHW, expr.float)

        def call() -> list[np.ndarray]:
            outputs = self._module.forward([tensor])
            # The engine's own layout puts four channels together.
            return [np.array(expr.convert(each, expr.NCHW).read()) for each in outputs]

        return call

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with running(self._path):
            return dict(zip(self._names, self.bind(image)(), strict=True))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what MNN prints of the processor away from the output of the program."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        with suppress(OSError, TypeError, AttributeError):
            ctypes.CDLL(None).fflush(None)  # C has a buffer of its own; Windows another library
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
