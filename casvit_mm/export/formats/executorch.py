"""ExecuTorch programs, whose networks XNNPACK runs on the CPUs of phones."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from casvit_mm.deploy.engines.attached import attach
from casvit_mm.deploy.engines.executorch import ExecuTorchEngine
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.graphs import Graph, Positional
from casvit_mm.export.operators import OPERATORS, write_operators
from casvit_mm.export.phone_graph import EXACT_PARTS, for_phones
from casvit_mm.export.tracing import without_shared_layers

__all__ = ['FORMAT', 'lower']

_XNNPACK = 'executorch.backends.xnnpack'
_NO_KERNEL = '0x:14'  # Error::OperatorMissing, as its messages end


def _write_executorch(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write a program.

    Raises:
        InputError: If torch.export cannot follow the model, or ExecuTorch lacks an operator of it.
    """
    _save(_to_module(graph), example, graph.names, spec, path)


def _to_module(graph: Graph) -> nn.Module:
    """Return a graph in its form for phones, in which no two layers share weights.

    ExecuTorch merges each BatchNorm into its convolution, under the name of the convolution's
    weights, and stops where RTMDet's levels merge theirs into the same ones.
    """
    return for_phones(Positional(without_shared_layers(graph)))


def _write_int8(graph: Graph, inputs: Sequence[np.ndarray], spec: Spec, path: Path) -> None:
    """Write a program with eight-bit weights and activations.

    Args:
        graph: In float32.
        inputs: Images as the file takes them, ``(1, 3, H, W)``.
        spec: Goes into the file.
        path: File to write.

    Raises:
        InputError: As :func:`_write_executorch`.
    """
    pt2e: Any = importlib.import_module('torchao.quantization.pt2e.quantize_pt2e')
    module: Any = importlib.import_module(f'{_XNNPACK}.quantizer.xnnpack_quantizer')
    settings = module.get_symmetric_quantization_config(is_per_channel=True)
    quantizer = module.XNNPACKQuantizer().set_global(settings)
    quantizer.set_filter_function(_may_be_eight_bits)
    tensors = [torch.from_numpy(image) for image in inputs]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        exported = torch.export.export(_to_module(graph), (tensors[0],))
        observed = pt2e.prepare_pt2e(exported.module(), quantizer)
        for tensor in tensors:
            observed(tensor)
        quantized = pt2e.convert_pt2e(observed)
    _save(quantized, tensors[0], graph.names, spec, path)


def _may_be_eight_bits(node: Any) -> bool:
    """Return whether an operator is outside of the parts that stay in floating point."""
    return re.search(EXACT_PARTS, str(node.meta.get('nn_module_stack', ''))) is None


def _save(
    module: nn.Module, example: Tensor, names: tuple[str, ...], spec: Spec, path: Path
) -> None:
    try:
        with _flatc():
            program = lower(module, example)
            counts = _count_operators(program)
            program.to_executorch().save(str(path))
    except Exception as error:  # each operator fails in its own way
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f'ExecuTorch cannot hold this model: {lines[0] if lines else error!r:.300}. Take '
            '--format onnx'
        ) from error
    _check_kernels(path, counts[2])
    attach(path, spec, names)
    write_operators(path, 'XNNPACK', *counts)


def _check_kernels(path: Path, left: Iterable[str]) -> None:
    """Load a program, which the compiler also writes of operators that no runtime has.

    Args:
        path: Of the program.
        left: Names of the operators that XNNPACK does not run.

    Raises:
        InputError: If one of them has no kernel.
    """
    runtime: Any = importlib.import_module('executorch.runtime')
    try:
        runtime.Runtime.get().load_program(path).load_method('forward')
    except RuntimeError as error:
        if _NO_KERNEL not in str(error):
            raise
        raise InputError(
            f'ExecuTorch has no kernel for one of {", ".join(sorted(left))}. Take --format litert '
            'or onnx'
        ) from error


def _count_operators(program: Any) -> tuple[int, dict[str, int], dict[str, int]]:
    """Return the number of XNNPACK's parts, and the operators within and outside of them."""
    module: Any = importlib.import_module('executorch.devtools.backend_debug')
    info = module.get_delegation_info(program.exported_program().graph_module)
    within: dict[str, int] = {}
    outside: dict[str, int] = {}
    for name, one in info.delegation_by_operator.items():
        # How ExecuTorch calls a part, and reads one of several results.
        if name.startswith(('getitem', 'executorch_call_delegate')):
            continue
        if one.delegated:
            within[name] = one.delegated
        if one.non_delegated:
            outside[name] = one.non_delegated
    return info.num_delegated_subgraphs, within, outside


@contextlib.contextmanager
def _flatc() -> Iterator[None]:
    """Let ExecuTorch find its compiler of FlatBuffers where its environment is not activated."""
    package = importlib.import_module('executorch.data.bin')
    own = Path(next(iter(package.__path__)), 'flatc.exe' if os.name == 'nt' else 'flatc')
    before = os.environ.get('FLATC_EXECUTABLE')
    if before is None and own.is_file():
        os.environ['FLATC_EXECUTABLE'] = str(own)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop('FLATC_EXECUTABLE', None)


def lower(module: nn.Module, example: Tensor) -> Any:
    """Return a module as ExecuTorch's edge program, with what XNNPACK runs handed to it.

    Args:
        module: In eval mode; takes one tensor and returns a tuple.
        example: Its input.
    """
    exir: Any = importlib.import_module('executorch.exir')
    xnnpack: Any = importlib.import_module(f'{_XNNPACK}.partition.xnnpack_partitioner')
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.export.export(module, (example,))
        partitioner = xnnpack.XnnpackPartitioner()
        return exir.to_edge_transform_and_lower(program, partitioner=[partitioner])


FORMAT = Format(
    'executorch',
    ExecuTorchEngine.suffix,
    _write_executorch,
    precisions=('fp32', 'fp16', 'int8'),
    packages=('executorch',),
    engine=ExecuTorchEngine,
    beside=(OPERATORS,),
    extra='executorch',
    write_int8=_write_int8,
    quantize_packages=('torchao',),
    casts=True,
    chooses=False,
    no_open_sizes='programs for XNNPACK have a fixed size',
    no_regions='ExecuTorch has no RoIAlign over regions that the network itself finds',
)
