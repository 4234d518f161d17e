"""Core ML programs, which Linux can write and check, but only Apple devices can run."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from casvit_mm.deploy.engines import require
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.graphs import Graph
from casvit_mm.export.operators import OPERATORS
from casvit_mm.export.tracing import trace
from casvit_mm.io import write_json

__all__ = ['FORMAT']

_SUFFIX = '.mlpackage'


def _write_coreml(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write a program for iOS 17, macOS 14 and newer, and the list of its operators beside it.

    The converter checks types and shapes of the whole program. Pre-processing inside makes the
    input an image, as cameras give it; outside, an array.

    Args:
        graph: In float32; the program computes in half precision where the spec says so.
        example: ``(1, 3, H, W)``; its size is fixed.
        spec: Goes into the program.
        path: Folder to write, ``.mlpackage``.
    """
    traced = trace(graph, example)
    # On stderr the converter warns of newer versions of torch and that Linux cannot run programs,
    # and shows its progress. Errors are raised.
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            program = _convert(traced, tuple(example.shape), graph.names, spec)
        except NotImplementedError as error:  # names the operator
            raise InputError(
                f'Core ML lacks an operator of this model: {error} Take --format onnx'
            ) from error
    program.user_defined_metadata[KEY] = spec.to_json()
    program.save(str(path))
    write_json(path.with_suffix(OPERATORS), _operators(program))


def _convert(traced: Any, shape: tuple[int, ...], names: tuple[str, ...], spec: Spec) -> Any:
    ct: Any = require('coremltools', 'export')
    image = (
        ct.ImageType('image', shape, color_layout=ct.colorlayout.BGR)
        if spec.preprocess == 'inside'
        else ct.TensorType('image', shape, dtype=np.float32)
    )
    halves = ct.precision.FLOAT16 if spec.precision == 'fp16' else ct.precision.FLOAT32
    return ct.convert(
        traced,
        convert_to='mlprogram',
        inputs=[image],
        outputs=[ct.TensorType(name) for name in names],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=halves,
        skip_model_load=True,
    )


def _operators(program: Any) -> dict[str, Any]:
    main = program.get_spec().mlProgram.functions['main']
    (block,) = main.block_specializations.values()
    counts = Counter(operation.type for operation in block.operations)
    return dict(executed=False, operators=dict(counts.most_common()))


FORMAT = Format(
    'coreml',
    _SUFFIX,
    _write_coreml,
    precisions=('fp32', 'fp16'),
    packages=('coremltools',),
    engine=None,
    beside=(OPERATORS,),
    no_open_sizes='Core ML programs have a fixed size',
    no_regions='Core ML has no RoIAlign whose number of samples follows from the size of a region',
)
