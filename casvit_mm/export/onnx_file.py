"""PyTorch modules as ONNX files."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from casvit_mm.deploy.engines import require
from casvit_mm.errors import InputError
from casvit_mm.export.split_maps import with_split_maps

__all__ = ['trace_to_onnx']

_OPSET = 17  # GroupNorm and RoIAlign with half-pixel shift; the newest that torch 2.4 writes


def trace_to_onnx(
    module: nn.Module,
    example: Tensor,
    path: Path,
    outputs: Sequence[str] | None = None,
    open_axes: dict[str, dict[int, str]] | None = None,
) -> None:
    """Write a module in eval mode as ONNX.

    CAS-ViT's token mixers get a convolution each for query, key and value: engines copy the thirds
    of a single one before they read them.

    Args:
        module: Takes one tensor, which the file calls ``image``.
        example: Its input ``(B, 3, H, W)``.
        path: File to write.
        outputs: Names of the outputs; None leaves them to the exporter.
        open_axes: By name of input or output, the axes that may have another size, and their
            names. None fixes all of them.

    Raises:
        InputError: If onnx is not installed, or the module has an operator that ONNX lacks.
    """
    require('onnx', 'export')
    options: dict[str, Any] = dict(opset_version=_OPSET, dynamic_axes=open_axes)
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False  # the other exporter needs a further package
    names = None if outputs is None else list(outputs)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of the tracer, about checks of sizes
            torch.onnx.export(
                with_split_maps(module),
                (example,),
                str(path),
                input_names=['image'],
                output_names=names,
                **options,
            )
    except Exception as error:  # each operator fails in its own way
        lines = str(error).strip().splitlines()
        raise InputError(
            f'{type(module).__name__} cannot be exported to ONNX: {lines[0] if lines else error!r}'
        ) from error
