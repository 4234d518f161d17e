"""Files of torch.export in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.engines.base import Engine, EngineOptions, loading, require, running
from casvit_mm.deploy.spec import KEY

__all__ = ['TorchExportEngine']


class TorchExportEngine(Engine):
    """A file of ``--format torch-export``; needs torch and torchvision, and no mm package.

    Only for files of a known origin: reading one can run code that it holds.
    """

    name = 'torch-export'
    suffix = '.pt2'
    package = 'torch'
    extra = 'onedl'
    executes = True
    device = 'torch, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._torch = require(self.package, self.extra)
        require('torchvision', self.extra)  # defines the operators nms and roi_align
        if options.threads is not None:
            self._torch.set_num_threads(options.threads)
        extra = {f'{KEY}.json': ''}
        with loading(path):
            program = self._torch.export.load(str(path), extra_files=extra)
        self._path = path
        self._text = extra[f'{KEY}.json']
        self._module = program.module()

    def bind(self, *arrays: np.ndarray) -> Callable[[], dict[str, Any]]:
        """Return a call that runs the file on its input, for timing."""
        (image,) = map(self._torch.from_numpy, arrays)

        def call() -> dict[str, Any]:
            with self._torch.inference_mode():
                return self._module(image)

        return call

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with running(self._path):
            outputs = self.bind(image)()
        return {name: output.numpy() for name, output in outputs.items()}
