"""Pairs of OpenVINO's files, by way of ONNX."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from torch import Tensor

from casvit_mm.deploy.engines import OpenVinoEngine, require
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.export.formats.base import Format
from casvit_mm.export.formats.onnx import write_onnx
from casvit_mm.export.graphs import Graph
from casvit_mm.export.quantize import BOXES_AND_SCORES, quantize_openvino

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
    if spec.precision == 'fp16' and spec.task == 'detection':
        _keep_boxes_exact(path)


def _keep_boxes_exact(path: Path) -> None:
    """Have boxes and scores computed in float32 where the networks are in half precision.

    The steps between the coordinates of a large image are up to half a pixel there. OpenVINO's
    attribute can be written into the file, but not set from Python.
    """
    tree = ElementTree.parse(path)
    layers = {layer.attrib['id']: layer for layer in tree.iterfind('layers/layer')}
    readers = defaultdict(list)
    for edge in tree.iterfind('edges/edge'):
        readers[edge.attrib['from-layer']].append(edge.attrib['to-layer'])
    pending = [number for number, layer in layers.items() if _computes_boxes(layer.attrib)]
    exact = set()
    while pending:  # conversion gives some of what comes behind names of its own
        number = pending.pop()
        if number not in exact:
            exact.add(number)
            pending += readers[number]
    for layer in map(layers.__getitem__, exact):
        info = layer.find('rt_info')
        if info is None:
            info = ElementTree.Element('rt_info')
            layer.insert(1 if layer.find('data') is not None else 0, info)
        ElementTree.SubElement(info, 'attribute', name='precise', version='0')
    tree.write(path, encoding='utf-8', xml_declaration=True)


def _computes_boxes(layer: Mapping[str, str]) -> bool:
    # Constants may be shared with the networks.
    return layer['type'] != 'Const' and re.match(BOXES_AND_SCORES, layer['name']) is not None


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
