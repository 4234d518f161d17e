"""TensorFlow Lite files in LiteRT."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.engines.attached import read_attached
from casvit_mm.deploy.engines.base import (
    Engine,
    EngineInput,
    EngineOptions,
    loading,
    require,
    running,
)

__all__ = ['LiteRtEngine']


class LiteRtEngine(Engine):
    """A file of ``--format litert`` in LiteRT on the CPU, by XNNPACK where that has the operators.

    Args:
        path: ``.tflite``, of ours or of any maker.
        options: How it runs.
    """

    name = 'litert'
    suffix = '.tflite'
    package = 'ai_edge_litert'
    extra = 'litert'
    device = 'LiteRT, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        require(self.package, self.extra)
        litert = importlib.import_module('ai_edge_litert.interpreter')
        self._path = path
        with loading(path):
            self._text, names = read_attached(path)
            self._interpreter = litert.Interpreter(str(path), num_threads=options.threads)
            self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
            self._names = names or tuple(one['name'] for one in outputs)
            self._outputs = dict(zip(self._names, outputs, strict=True))
        self._inputs = [one['index'] for one in inputs]
        self.inputs = tuple(
            EngineInput(one['name'], tuple(map(int, one['shape'])), one['dtype']) for one in inputs
        )

    def bind(self, *arrays: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
        """Return a call that runs the file on its inputs, for timing."""
        given = list(zip(self._inputs, arrays, strict=True))

        def call() -> dict[str, Any]:
            for index, array in given:
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return {
                name: self._interpreter.get_tensor(one['index'])
                for name, one in self._outputs.items()
            }

        return call

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with running(self._path):
            return self.bind(image)()
