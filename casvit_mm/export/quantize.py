"""Eight-bit weights and activations, calibrated on images."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from casvit_mm.deploy.engines import require
from casvit_mm.deploy.spec import KEY

__all__ = ['BOXES_AND_SCORES', 'quantize_onnx', 'quantize_openvino']

# Modules of casvit_mm.export.graphs that compute boxes and scores, by the names of their nodes.
BOXES_AND_SCORES = (
    r'^/body/(candidates|propose|suppress|decoder|box_features|mask_features|instance_masks)/.*'
)
# What stays in floating point: 256 values are too few for boxes and scores.
_EXACT = (r'^/preprocess/.*', BOXES_AND_SCORES, r'^/body/[^/]*$')
# Parts of CAS-ViT's token mixer that eight bits make slower: they read and write more than they
# compute. So do all depthwise convolutions.
_BOUND_BY_MEMORY = (
    r'.*/token_mixer/(gate_q|gate_k|dwconv|proj)/.*',
    r'.*/token_mixer/(Add|Mul)[^/]*$',
)


def quantize_onnx(path: Path, inputs: Sequence[np.ndarray]) -> None:
    """Quantise the convolutions and linear layers of a file, in place, with onnxruntime's tool.

    Args:
        path: Written by ``--format onnx`` in float32.
        inputs: Images as the file takes them, ``(1, 3, H, W)``.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._rest, None)
            return None if image is None else {'image': image}

    prepared = path.with_suffix('.prepared.onnx')
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=['Conv', 'Gemm', 'MatMul'],
        nodes_to_exclude=_bound_by_memory(prepared),
        per_channel=True,
        # Seven bits for weights: processors without VNNI add pairs of products in 16 bits.
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def _bound_by_memory(path: Path) -> list[str]:
    """Return the names of the nodes of an ONNX file that stay in floating point."""
    names = []
    for node in require('onnx', 'export').load(path).graph.node:
        groups = next((each.i for each in node.attribute if each.name == 'group'), 1)
        floating = (BOXES_AND_SCORES, *_BOUND_BY_MEMORY)
        if groups > 1 or any(re.match(pattern, node.name) for pattern in floating):
            names.append(node.name)
    return names


def quantize_openvino(path: Path, inputs: Sequence[np.ndarray]) -> None:
    """Quantise a pair of files in place with NNCF.

    Args:
        path: The ``.xml``, written by ``--format openvino`` in float32.
        inputs: Images as the file takes them, ``(1, 3, H, W)``.
    """
    openvino = require('openvino', 'export')
    nncf = require('nncf', 'export')
    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(path)
    text = model.get_rt_info(KEY).astype(str)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(list(inputs)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(
            patterns=[*_EXACT, *_BOUND_BY_MEMORY], types=['GroupConvolution'], validate=False
        ),
        # Seven bits for weights here as well.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )
    quantized.set_rt_info(text, KEY)
    with_rest = path.with_suffix('.int8.xml')  # the old weights are still mapped into memory
    openvino.save_model(quantized, with_rest, compress_to_fp16=False)
    del model, quantized
    for suffix in ('.xml', '.bin'):
        shutil.move(with_rest.with_suffix(suffix), path.with_suffix(suffix))
