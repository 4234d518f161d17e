"""PyTorch modules as ONNX files."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from casvit_mm.deploy.engines import require
from casvit_mm.errors import InputError
from casvit_mm.models.casvit import AdditiveTokenMixer
from casvit_mm.models.folding import is_plain_conv

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
                _with_split_maps(module),
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


class _SplitMixer(nn.Module):
    """CAS-ViT's token mixer with a 1x1 convolution each for query, key and value."""

    def __init__(self, mixer: AdditiveTokenMixer) -> None:
        super().__init__()
        self.query, self.key, self.value = (_third(mixer.qkv, index) for index in range(3))
        del mixer.qkv
        self.mixer = mixer

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer.mix(self.query(x), self.key(x), self.value(x))


def _third(conv: nn.Conv2d, index: int) -> nn.Conv2d:
    """Return a convolution that computes a third of the output channels of ``conv``."""
    part = copy.deepcopy(conv)
    part.out_channels //= 3
    part.weight = nn.Parameter(conv.weight.chunk(3)[index])
    if conv.bias is not None:
        part.bias = nn.Parameter(conv.bias.chunk(3)[index])
    return part


def _with_split_maps(module: nn.Module) -> nn.Module:
    """Return a copy in which query, key and value are not thirds of one map."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            # Not a subclass, whose forward may be another, nor one whose map was exchanged.
            if type(child) is AdditiveTokenMixer and is_plain_conv(child.qkv):
                setattr(parent, name, _SplitMixer(child))
    return module
