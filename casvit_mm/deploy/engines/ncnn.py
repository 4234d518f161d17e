"""Files of ncnn, which runs on the processors and GPUs of phones, on the CPU."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.engines.base import Engine, EngineOptions, loading, require, running
from casvit_mm.deploy.spec import KEY
from casvit_mm.errors import InputError

__all__ = ['NcnnEngine', 'checksums']

# What ncnn may do in half precision, by the precision that it is told.
_HALVES = {
    'fp32': (),
    'fp16': ('use_fp16_packed', 'use_fp16_storage', 'use_fp16_arithmetic'),
    'bf16': ('use_bf16_packed', 'use_bf16_storage'),
}


def checksums(files: Sequence[Path]) -> dict[str, int]:
    """Return the CRC-32 of each file by its ending, so that halves of two models are told apart."""
    return {''.join(file.suffixes[-2:]): zlib.crc32(file.read_bytes()) for file in files}


class NcnnEngine(Engine):
    """A ``.ncnn.param`` with its ``.ncnn.bin`` and description, in ncnn on the CPU.

    One image of a fixed size at a time.

    Attributes:
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``, in which ncnn may store and compute.
    """

    name = 'ncnn'
    suffix = '.ncnn.param'
    beside = ('.ncnn.bin', '.ncnn.json')
    package = 'ncnn'
    extra = 'ncnn'
    precisions = tuple(_HALVES)
    device = 'ncnn, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._ncnn = require(self.package, self.extra)
        weights, described, _ = self.files(path)
        self._path = path
        with loading(described):
            content = json.loads(described.read_text(encoding='utf-8'))
            self._text = json.dumps(content[KEY]) if KEY in content else None
            expected = content.get('crc32', {})
        for name, found in checksums([weights, path]).items():
            if name in expected and expected[name] != found:
                raise InputError(
                    f'{weights} and {path.name} are not those that {described.name} was written '
                    f'with ({name} differs). Copy all of them again, or export again'
                )
        halves = self.spec.precision in ('fp16', 'bf16')
        self.precision = options.precision or (self.spec.precision if halves else 'fp32')
        with loading(path):
            self._net = self._load(path, weights, options.threads)
        self._names = list(self._net.output_names())

    def _load(self, path: Path, weights: Path, threads: int | None) -> Any:
        """Return the network.

        Raises:
            ValueError: If ncnn refuses a file.
        """
        net = self._ncnn.Net()
        if threads is not None:
            net.opt.num_threads = threads
        for names in _HALVES.values():
            for name in names:
                setattr(net.opt, name, name in _HALVES[self.precision])
        if net.load_param(str(path)) != 0:
            raise ValueError('ncnn cannot read the layers')
        if net.load_model(str(weights)) != 0:
            raise ValueError(f'ncnn cannot read the weights in {weights.name}')
        return net

    def bind(self, *arrays: np.ndarray) -> Callable[[], list[np.ndarray]]:
        """Return a call that runs the file on its input, for timing."""
        (image,) = arrays
        # ncnn has no batch, and reads floating point. A Mat of an array does not keep the array.
        values = np.ascontiguousarray(image[0], np.float32)
        pixels = self._ncnn.Mat(values).clone()
        return lambda: self._outputs(pixels)

    def _outputs(self, pixels: Any) -> list[np.ndarray]:
        extractor = self._net.create_extractor()
        extractor.input('image', pixels)
        found = [extractor.extract(name) for name in self._names]
        if any(code != 0 for code, _ in found):
            raise ValueError('a layer of ncnn failed')
        return [np.array(values) for _, values in found]

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(1, 3, H, W)``."""
        with running(self._path):
            outputs: Sequence[np.ndarray] = self.bind(image)()
        return {name: each[None] for name, each in zip(self._names, outputs, strict=True)}
