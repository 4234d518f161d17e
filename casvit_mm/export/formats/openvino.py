"""Pairs of OpenVINO's files, by way of ONNX."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from casvit_mm.deploy.engines import OpenVinoEngine, require
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.export.formats.base import Format
from casvit_mm.export.formats.onnx import write_onnx
from casvit_mm.export.graphs import Graph
from casvit_mm.export.quantize import quantize_openvino

__all__ = ['FORMAT']


def _write_openvino(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    openvino = require('openvino', 'export')
    onnx_file = path.with_suffix('.onnx')
    try:
        write_onnx(graph, example, spec, onnx_file)
        model = openvino.convert_model(onnx_file)
    finally:
        onnx_file.unlink(missing_ok=True)
    model.set_rt_info(spec.to_json(), KEY)
    openvino.save_model(model, path, compress_to_fp16=spec.precision == 'fp16')


FORMAT = Format(
    'openvino',
    OpenVinoEngine.suffix,
    _write_openvino,
    precisions=('fp32', 'fp16', 'bf16', 'int8'),
    packages=('onnx', 'openvino'),
    engine=OpenVinoEngine,
    beside=OpenVinoEngine.beside,
    quantize=quantize_openvino,
    quantize_packages=('nncf',),
)
