"""ONNX files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from casvit_mm.deploy.engines import OnnxEngine, require
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.graphs import Graph
from casvit_mm.export.onnx_file import trace_to_onnx
from casvit_mm.export.quantize import quantize_onnx

__all__ = ['FORMAT', 'write_onnx']

_DYNAMIC = {0: 'batch', 2: 'height', 3: 'width'}


def write_onnx(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write a graph as ONNX, with its description.

    Args:
        graph: The model.
        example: An input ``(B, 3, H, W)``.
        spec: Goes into the file; its size is fixed, or batch, height and width stay open.
        path: File to write.

    Raises:
        InputError: If ONNX lacks an operator of the graph.
    """
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


FORMAT = Format(
    'onnx',
    OnnxEngine.suffix,
    write_onnx,
    precisions=('fp32', 'fp16', 'int8'),
    packages=('onnx', 'onnxruntime'),
    engine=OnnxEngine,
    quantize=quantize_onnx,
    casts=True,
)
