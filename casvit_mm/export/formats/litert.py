"""TensorFlow Lite files, for LiteRT on phones and microprocessors."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from casvit_mm.deploy.engines import require
from casvit_mm.deploy.engines.attached import attach, read_attached
from casvit_mm.deploy.engines.litert import LiteRtEngine
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.graphs import Graph, Positional
from casvit_mm.export.operators import OPERATORS, split_by_delegate, write_operators
from casvit_mm.export.phone_graph import EXACT_PARTS, for_phones

__all__ = ['FORMAT']

# What eight bits are worth it for; gates, norms and sums between stay in floating point.
_QUANTIZED = ('CONV_2D', 'FULLY_CONNECTED')
_SIGNATURE, _INPUT = 'serving_default', 'args_0'  # as the converter calls them


def _write_litert(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write a file, with weights in half precision where the spec says so.

    Raises:
        InputError: If LiteRT lacks an operator of the graph.
    """
    litert = require('litert_torch', 'litert')
    with _silent(), torch.no_grad():
        try:
            model = litert.convert(for_phones(Positional(graph)).eval(), (example,))
        except Exception as error:  # the converter has many, without a common parent
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise InputError(
                f'LiteRT cannot hold this model: {lines[0] if lines else error!r:.300}. Take '
                '--format onnx'
            ) from error
        model.export(str(path))
        if spec.precision == 'fp16':
            _halve(path)
    attach(path, spec, graph.names)
    _list_operators(path)


def _halve(path: Path) -> None:
    quantizer = _quantizer(path)
    names = require('ai_edge_quantizer', 'litert').qtyping.TFLOperationName
    algorithm = require('ai_edge_quantizer.algorithm_manager', 'litert').AlgorithmName
    for name in (*_QUANTIZED, 'DEPTHWISE_CONV_2D', 'CONV_2D_TRANSPOSE'):
        quantizer.add_weight_only_config(
            '.*', names[name], 16, algorithm_key=algorithm.FLOAT_CASTING
        )
    _save(quantizer.quantize(enable_progress_report=False), path)


def _quantize_litert(path: Path, inputs: Sequence[np.ndarray]) -> None:
    """Quantise the convolutions and linear layers of a file in place.

    Args:
        path: Written by ``--format litert`` in float32.
        inputs: Images as the file takes them, ``(1, 3, H, W)``.
    """
    text, outputs = read_attached(path)
    assert outputs is not None  # the file is ours
    spec = Spec.from_json(text, path)
    with _silent():
        quantizer = _quantizer(path)
        for operation in _QUANTIZED:
            quantizer.add_static_config(f'^(?!.*(?:{EXACT_PARTS}))', operation, 8, 8)
        data = [{_INPUT: image} for image in inputs]
        found = quantizer.calibrate({_SIGNATURE: data}, num_threads=os.cpu_count() or 1)
        _save(quantizer.quantize(found, enable_progress_report=False), path)
    attach(path, spec, outputs)
    _list_operators(path)


def _list_operators(path: Path) -> None:
    litert = require('ai_edge_litert.interpreter', 'litert')
    with _silent():
        interpreter = litert.Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()  # applies the delegate
        operators = interpreter._get_ops_details()
    write_operators(path, 'XNNPACK', *split_by_delegate(operators))


def _quantizer(path: Path) -> Any:
    return require('ai_edge_quantizer', 'litert').quantizer.Quantizer(str(path))


def _save(result: Any, path: Path) -> None:
    path.write_bytes(bytes(result.quantized_model))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hide what the converter prints of its progress, in Python and in C++; errors are raised."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        saved = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(sink.fileno(), number)
            with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
                yield
        finally:
            for number, old in zip((1, 2), saved, strict=True):
                os.dup2(old, number)
                os.close(old)


FORMAT = Format(
    'litert',
    LiteRtEngine.suffix,
    _write_litert,
    precisions=('fp32', 'fp16', 'int8'),
    packages=('litert_torch', 'ai_edge_litert'),
    engine=LiteRtEngine,
    beside=(OPERATORS,),
    extra='litert',
    quantize=_quantize_litert,
    quantize_packages=('ai_edge_quantizer',),
    chooses=False,
    no_open_sizes='LiteRT files have a fixed size',
    no_regions='LiteRT has no RoIAlign over regions that the network itself finds',
)
