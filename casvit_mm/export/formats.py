"""One writer per format: a graph goes in, one file (or pair, or folder) comes out."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from casvit_mm.deploy.engines import require
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError
from casvit_mm.export.coreml import operators_file, write_coreml
from casvit_mm.export.graphs import Graph
from casvit_mm.export.onnx_file import trace_to_onnx
from casvit_mm.export.quantize import quantize_onnx, quantize_openvino

__all__ = ['FORMATS', 'Format']

_DYNAMIC = {0: 'batch', 2: 'height', 3: 'width'}
_MAX_SIDE = 8192  # pixels of an open side in torch-export
_MAX_BATCH = 512


@dataclass(frozen=True)
class Format:
    """A format of files, and how to write it.

    Attributes:
        suffix: Suffix of its files.
        write: Writes a graph to a path, given an example of its input and the spec.
        precisions: Those in which it can be written.
        packages: Packages that it needs beside torch.
        quantize: Turns a float32 file into an int8 one in place, given inputs to calibrate on.
        quantize_packages: Packages that this needs as well.
        dynamic: Whether the sizes of the input may be left open.
        single_rows: Whether, with open sizes, a map of the network may have one row or column.
        runs_here: Whether its files can be run and compared on this machine.
    """

    suffix: str
    write: Callable[[Graph, Tensor, Spec, Path], None]
    precisions: tuple[str, ...]
    packages: tuple[str, ...]
    quantize: Callable[[Path, Sequence[np.ndarray]], None] | None = None
    quantize_packages: tuple[str, ...] = ()
    dynamic: bool = True
    single_rows: bool = True
    runs_here: bool = True

    def needs(self, precision: str) -> tuple[str, ...]:
        """Return the packages that writing in a precision needs."""
        return self.packages + (self.quantize_packages if precision == 'int8' else ())

    def files(self, path: Path) -> list[Path]:
        """Return the files that are written for ``path``, itself last."""
        if self.suffix == '.xml':
            return [path.with_suffix('.bin'), path]
        if self.suffix == '.mlpackage':
            return [operators_file(path), path]
        return [path]

    def refuse(self, spec: Spec, two_stages: bool) -> None:
        """Refuse a model that the format cannot express.

        Raises:
            InputError: With the reason and what can be done instead.
        """
        if self.runs_here:
            return
        if two_stages:
            raise InputError(
                'Core ML has no RoIAlign whose number of samples follows from the size of a '
                'region, which Mask R-CNN has. Take --format onnx, or a RetinaNet'
            )
        if spec.size is None:
            raise InputError('Core ML programs have a fixed size: name it, as in --size 640x480')


def _write_onnx(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    onnx = require('onnx', 'export')
    axes = {'image': _DYNAMIC, **{name: {0: 'batch'} for name in graph.names}}
    try:
        trace_to_onnx(graph, example, path, graph.names, None if spec.size else axes)
    except InputError as error:
        if spec.size:
            raise
        raise InputError(f'{error}. A layer may need a fixed size: try --size 640x480') from error
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {KEY: spec.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _write_openvino(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    openvino = require('openvino', 'export')
    onnx_file = path.with_suffix('.onnx')
    try:
        _write_onnx(graph, example, spec, onnx_file)
        model = openvino.convert_model(onnx_file)
    finally:
        onnx_file.unlink(missing_ok=True)
    model.set_rt_info(spec.to_json(), KEY)
    openvino.save_model(model, path, compress_to_fp16=spec.precision == 'fp16')


def _write_torch_export(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    axes = {
        0: torch.export.Dim('batch', min=1, max=_MAX_BATCH),
        2: torch.export.Dim('height', min=spec.least, max=_MAX_SIDE),
        3: torch.export.Dim('width', min=spec.least, max=_MAX_SIDE),
    }
    dynamic = None if spec.size else (axes,)
    with torch.no_grad(), _quiet():
        try:
            program = torch.export.export(graph, (example,), dynamic_shapes=dynamic)
        except torch._dynamo.exc.UserError as error:
            if spec.size:
                raise
            raise InputError(
                'torch.export cannot keep the sizes of this model open: it does not see that the '
                'maps that a layer joins are equally large. Name a size, as in --size 640x480, or '
                'take --format onnx'
            ) from error
    torch.export.save(program, path, extra_files={f'{KEY}.json': spec.to_json()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of constants and of deprecated exporters; the comparison finds real errors."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


FORMATS = {
    'onnx': Format(
        '.onnx',
        _write_onnx,
        precisions=('fp32', 'fp16', 'int8'),
        packages=('onnx', 'onnxruntime'),
        quantize=quantize_onnx,
    ),
    'openvino': Format(
        '.xml',
        _write_openvino,
        precisions=('fp32', 'fp16', 'bf16', 'int8'),
        packages=('onnx', 'openvino'),
        quantize=quantize_openvino,
        quantize_packages=('nncf',),
    ),
    'torch-export': Format(
        '.pt2',
        _write_torch_export,
        precisions=('fp32', 'fp16', 'bf16'),
        packages=('torchvision',),
        single_rows=False,  # a size of 1 is a case of its own to torch.export
    ),
    'coreml': Format(
        '.mlpackage',
        write_coreml,
        precisions=('fp32', 'fp16'),
        packages=('coremltools',),
        dynamic=False,
        runs_here=False,
    ),
}
