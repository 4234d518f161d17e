"""Programs of torch.export."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.utils import digit_version
from torch import Tensor

from casvit_mm.deploy.engines.torch_export import TorchExportEngine
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.graphs import Graph

__all__ = ['FORMAT']

_MAX_SIDE = 8192  # pixels of an open side
_MAX_BATCH = 512


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
        except (torch._dynamo.exc.UserError, NotImplementedError) as error:
            if spec.size:
                raise
            raise InputError(
                'torch.export cannot keep the sizes of this model open: it does not see, for one, '
                'that the maps that a layer joins are equally large. Name a size, as in --size '
                '640x480, or take --format onnx'
            ) from error
    torch.export.save(program, path, extra_files={f'{KEY}.json': spec.to_json()})


def why_no_detectors(torch_version: str) -> str:
    """Return why torch.export of a version cannot follow a detector; empty if it can."""
    if digit_version(torch_version) >= digit_version('2.5'):
        return ''
    return (
        f'torch.export of torch {torch_version} cannot follow the heads of mmdet, which map a '
        'function over their levels; that of torch 2.11 can'
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of constants and of deprecated exporters; the comparison finds real errors."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


FORMAT = Format(
    'torch-export',
    TorchExportEngine.suffix,
    _write_torch_export,
    precisions=('fp32', 'fp16', 'bf16'),
    packages=('torchvision',),
    engine=TorchExportEngine,
    casts=True,
    no_detectors=why_no_detectors(torch.__version__),
    single_rows=False,  # a size of 1 is a case of its own to torch.export
)
