"""ONNX files in onnxruntime."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from casvit_mm.deploy.engines.base import (
    Engine,
    EngineInput,
    EngineOptions,
    loading,
    numpy_type,
    require,
    running,
)
from casvit_mm.deploy.spec import KEY

__all__ = ['OnnxEngine']

_ARM = ('aarch64', 'arm64')
_CHANNELS_LAST = 'NhwcTransformer'  # one of onnxruntime's optimisations of a graph


class OnnxEngine(Engine):
    """A file of ``--format onnx`` in onnxruntime, on a GPU where onnxruntime has one."""

    name = 'onnxruntime'
    suffix = '.onnx'
    package = 'onnxruntime'
    extra = 'deploy'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        ort = require(self.package, self.extra)
        settings = ort.SessionOptions()
        settings.log_severity_level = 3  # 2 warns of nodes that it removes by itself
        # Threads that wait busily for the next call would take time from everything else.
        settings.add_session_config_entry('session.force_spinning_stop', '1')
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        known = ['CUDAExecutionProvider'] * options.use_gpu + ['CPUExecutionProvider']
        providers = [name for name in known if name in ort.get_available_providers()]
        self._path = path
        with loading(path):
            self._session = ort.InferenceSession(str(path), settings, providers=providers)
            self._names = [output.name for output in self._session.get_outputs()]
            meta = self._session.get_modelmeta().custom_metadata_map
        self._text = meta.get(KEY)
        if platform.machine() in _ARM and self._text and self.spec.precision == 'fp16':
            # onnxruntime 1.23's convolutions in half precision, channels last, are wrong there.
            self._session = ort.InferenceSession(
                str(path), settings, providers=providers, disabled_optimizers=[_CHANNELS_LAST]
            )
        on_gpu = 'CUDAExecutionProvider' in self._session.get_providers()
        self.device = f'onnxruntime, {"cuda" if on_gpu else "cpu"}'
        self.inputs = tuple(
            EngineInput(
                one.name,
                tuple(size if isinstance(size, int) else None for size in one.shape),
                numpy_type(one.type, path),
            )
            for one in self._session.get_inputs()
        )

    def bind(self, *arrays: np.ndarray) -> Callable[[], list[np.ndarray]]:
        """Return a call that runs the file on its inputs, for timing."""
        names = [one.name for one in self.inputs]
        return partial(self._session.run, self._names, dict(zip(names, arrays, strict=True)))

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with running(self._path):
            return dict(zip(self._names, self.bind(image)(), strict=True))
