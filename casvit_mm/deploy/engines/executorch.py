"""ExecuTorch programs in its runtime for Python."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.engines.attached import read_attached
from casvit_mm.deploy.engines.base import Engine, EngineOptions, loading, require, running
from casvit_mm.errors import InputError

__all__ = ['ExecuTorchEngine']

_FIRST_TORCH = 9  # executorch 1.N is built against torch 2.(N + 9)


class ExecuTorchEngine(Engine):
    """A file of ``--format executorch`` on the CPU, by XNNPACK; in Python it needs torch."""

    name = 'executorch'
    suffix = '.pte'
    package = 'executorch'
    extra = 'executorch'
    device = 'ExecuTorch, cpu'

    @classmethod
    def check(cls) -> None:
        """Refuse an installation in which executorch, whether it is there or not, cannot run.

        Raises:
            InputError: If NumPy is too old for it, or torch is another one than it is built
                against.
        """
        if int(np.__version__.partition('.')[0]) < 2:
            raise InputError(
                f'executorch needs NumPy 2, here is {np.__version__}, which upstream mm packages '
                "need. Take an environment of the maintained forks: pip install '.[onedl,"
                "executorch]'; or --format litert"
            )
        if importlib.util.find_spec(cls.package) and importlib.util.find_spec('torch'):
            _check_versions(metadata.version('executorch'), metadata.version('torch'))

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self.check()
        require(self.package, self.extra)
        self._torch = require('torch', self.extra)
        runtime = importlib.import_module('executorch.runtime').Runtime.get()
        self._path = path
        if options.threads is not None:
            # One pool for the whole process.
            module = importlib.import_module('executorch.extension.pybindings.portable_lib')
            module._unsafe_reset_threadpool(options.threads)
        with loading(path):
            self._text, names = read_attached(path)
            self._program = runtime.load_program(path)
            self._method = self._program.load_method('forward')
            if names is None:
                names = tuple(f'output {n}' for n in range(self._method.metadata.num_outputs()))
            self._names = names

    def bind(self, *arrays: np.ndarray) -> Callable[[], list[Any]]:
        """Return a call that runs the file on its input, for timing."""
        tensors = [self._torch.from_numpy(array) for array in arrays]
        return lambda: self._method.execute(tensors)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with running(self._path):
            outputs = [output.numpy() for output in self.bind(image)()]
            return dict(zip(self._names, outputs, strict=True))


def _check_versions(executorch: str, torch: str) -> None:
    """Refuse a torch that executorch is not built against; it would fail in the middle of a run."""
    ours, theirs = (re.match(r'(\d+)\.(\d+)', version) for version in (executorch, torch))
    if ours is None or theirs is None:
        return
    minor, found = int(ours[2]), (int(theirs[1]), int(theirs[2]))
    if ours[1] == '1' and found < (2, minor + _FIRST_TORCH):
        fitting = found[1] - _FIRST_TORCH
        raise InputError(
            f'executorch {executorch} is built against torch 2.{minor + _FIRST_TORCH}, here is '
            f"{torch}: pip install 'executorch==1.{max(fitting, 0)}.*'"
        )
