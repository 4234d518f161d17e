"""How close each stage of a CAS-ViT comes to what the machine can move and compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.forms import Form, as_input, autocast, compile_model, mixed_type
from casvit_mm.benchmark.inference import in_form
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.workload import Workload
from casvit_mm.engine.timing import Schedule, make_timer, time_calls
from casvit_mm.errors import InputError
from casvit_mm.models.complexity import multiply_adds
from casvit_mm.models.inspection import find_casvit

__all__ = [
    'Piece',
    'bytes_moved',
    'machine_calls',
    'machine_limits',
    'pieces',
    'rooflines',
    'shares',
]

_BUFFER = 2**28  # bytes; far beyond any cache
# Of the matrices whose product tells the peak: large enough for each, small enough to wait for.
_SIDE = dict(cpu=1024, cuda=8192)


@dataclass(frozen=True)
class Piece:
    """The stem, a stage with the downsampling before it, or a token mixer.

    Attributes:
        name: Name in the table.
        call: Runs it once on what it gets in the model.
        moved: Bytes that it must at least read and write.
        multiply_adds: Of the whole batch.
    """

    name: str
    call: Callable[[], object]
    moved: int
    multiply_adds: int


def rooflines(
    specs: Sequence[ModelSpec], workloads: Sequence[Workload], schedule: Schedule
) -> list[dict[str, Any]]:
    """Return for each model and form how close its stages come to the machine's limits.

    Args:
        specs: The models.
        workloads: What each computes, on one host.
        schedule: How often each piece is timed.

    Raises:
        InputError: If a model or form has no stages that can be run one by one.
    """
    rows = []
    for spec, workload in product(specs, workloads):
        form, device = workload.form, workload.host.device
        stages, mixers = pieces(spec, workload)
        limits = machine_calls(form.precision, device)
        calls = [piece.call for piece in (*stages, *mixers)] + list(limits)
        *seconds, copy, multiply = time_calls(calls, make_timer(device), schedule)
        bandwidth, peak = machine_limits(copy, multiply, device)
        row = dict(model=spec.name, form=form.name, batch=workload.batch, size=workload.size)
        row |= dict(bandwidth=bandwidth, peak=peak)
        row['pieces'] = shares(stages, seconds[: len(stages)], bandwidth, peak)
        row['mixers'] = shares(mixers, seconds[len(stages) :], bandwidth, peak)
        rows.append(row)
    return rows


def pieces(spec: ModelSpec, workload: Workload) -> tuple[list[Piece], list[Piece]]:
    """Cut a model's backbone into stem and stages, and take one token mixer out of each stage.

    Raises:
        InputError: If it has no CASViT, or the form is none of PyTorch.
    """
    form, device = workload.form, workload.host.device
    if form.engine != 'torch':
        raise InputError(
            f'--roofline: {form.engine} cannot run a single stage; give a form of torch'
        )
    model = in_form(spec, form, device)
    backbone = find_casvit(model)
    if backbone is None:
        raise InputError(f'--roofline: {spec.name} has no CASViT as its backbone')
    modules: dict[str, nn.Sequential] = {'stem': backbone.stem}
    for index, stage in enumerate(backbone.stages):
        before = [backbone.downsamples[index - 1]] if index else []
        modules[f'stage {index + 1}'] = nn.Sequential(*before, *stage.children())
    x = as_input(workload.images(), form, device)
    stages, mixers = [], []
    for name, module in modules.items():
        blocks = [child for child in module if hasattr(child, 'token_mixer')]
        mixer = cast(nn.Module, blocks[0].token_mixer) if blocks else None
        with torch.inference_mode(), autocast(form, device), _first_input(mixer) as seen:
            y = module(x)
        stages.append(_piece(name, module, x, form, device))
        if mixer is not None:
            alone = nn.Sequential(mixer)
            mixers.append(_piece(f'a mixer of {name}', alone, seen[0], form, device))
        x = y
    return stages, mixers


@contextmanager
def _first_input(module: nn.Module | None) -> Iterator[list[Tensor]]:
    """Give a list that gets the input of a module when it is called."""
    seen: list[Tensor] = []
    if module is None:
        yield seen
        return
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    yield seen
    hook.remove()


def _piece(name: str, module: nn.Sequential, x: Tensor, form: Form, device: str) -> Piece:
    plain = x.to(next(module.parameters()).dtype)  # what amp leaves is in half precision
    moved, count = bytes_moved(module, plain, form), multiply_adds(module, plain)
    run = compile_model(module) if form.compile else module
    return Piece(name, partial(_run, run, x, form, device), moved, count)


def bytes_moved(module: nn.Sequential, x: Tensor, form: Form) -> int:
    """Return the bytes that a piece must move if each of its blocks were fused perfectly.

    A perfectly fused layer or block reads its input and its weights once, writes its output once,
    and keeps the rest in registers and caches. The gates' means over all positions make that
    impossible for large maps, so this is a bound and no promise.

    Args:
        module: Layers and blocks in turn.
        x: Input ``(B, C, H, W)``.
        form: Its precision is that of every value.
    """
    bytes_per_value = 4 if form.precision == 'fp32' else 2
    values = 0
    with torch.inference_mode():
        for block in _steps(module):
            y = block(x)
            values += x.numel() + y.numel() + count_parameters(block)
            x = y
    return bytes_per_value * values


def _steps(module: nn.Sequential) -> list[nn.Module]:
    """Return blocks, and each convolution with the norm and activation after it."""
    steps: list[list[nn.Module]] = []
    for child in module:
        if isinstance(child, nn.Conv2d) or not steps or not _is_pointwise(child):
            steps.append([])
        steps[-1].append(child)
    return [nn.Sequential(*step) for step in steps]


def _is_pointwise(module: nn.Module) -> bool:
    return isinstance(module, (nn.BatchNorm2d, nn.ReLU, nn.GELU, nn.Identity))


def machine_calls(precision: str, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return calls that copy memory and multiply matrices as fast as PyTorch can.

    Args:
        precision: One of :data:`casvit_mm.benchmark.forms.PRECISIONS`, that of the matrices.
        device: Where they run.
    """
    kinds = dict(fp16=torch.float16, fp32=torch.float32, bf16=torch.bfloat16)
    kind = kinds.get(precision) or mixed_type(device)
    source = torch.ones(_BUFFER // 4, device=device)
    target = torch.empty_like(source)
    side = _SIDE[device.partition(':')[0]]
    a, b = (torch.rand(side, side, device=device, dtype=kind) for _ in range(2))
    return partial(target.copy_, source), partial(torch.mm, a, b)


def machine_limits(copy: np.ndarray, multiply: np.ndarray, device: str) -> tuple[float, float]:
    """Return bytes and multiply-adds per second.

    Args:
        copy: Seconds of the first call of :func:`machine_calls`.
        multiply: Seconds of the second.
        device: Where they ran.
    """
    bandwidth = 2 * _BUFFER / float(np.median(copy))  # a copy reads and writes
    return bandwidth, _SIDE[device.partition(':')[0]] ** 3 / float(np.median(multiply))


def shares(
    cut: Sequence[Piece], seconds: Sequence[np.ndarray], bandwidth: float, peak: float
) -> list[dict[str, Any]]:
    """Return milliseconds, share of the time, and what each piece reaches of the limits.

    Args:
        cut: The pieces.
        seconds: Of every call, for each piece.
        bandwidth: Bytes per second that a copy moves.
        peak: Multiply-adds per second of a large product.
    """
    medians = [float(np.median(each)) for each in seconds]
    return [
        dict(
            name=piece.name,
            ms=1000 * time,
            share=time / sum(medians),
            bytes=piece.moved,
            multiply_adds=piece.multiply_adds,
            of_bandwidth=piece.moved / bandwidth / time,
            of_peak=piece.multiply_adds / peak / time,
        )
        for piece, time in zip(cut, medians, strict=True)
    ]


def _run(module: Callable[[Tensor], Tensor], x: Tensor, form: Form, device: str) -> Tensor:
    with torch.inference_mode(), autocast(form, device):
        return module(x)
