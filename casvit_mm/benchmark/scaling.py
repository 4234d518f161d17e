"""How time and memory grow with the size of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, product
from typing import Any

import numpy as np

from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.inference import inference_call
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.workload import Workload
from casvit_mm.engine.timing import Schedule, make_timer, statistics, time_calls
from casvit_mm.errors import InputError
from casvit_mm.models.memory import peak_of_call

__all__ = ['FITTED_FROM', 'check_sizes', 'exponent', 'fit_exponent', 'growth']

FITTED_FROM = 512  # px; in smaller images the cost of the call itself counts


def growth(
    specs: Sequence[ModelSpec], workloads: Sequence[Workload], schedule: Schedule
) -> list[dict[str, Any]]:
    """Return time and memory over the size of the image, for each model, form and batch.

    Memory is PyTorch's; an engine does not tell its own.

    Args:
        specs: The models.
        workloads: What each computes, on one host: every form and batch with the same sizes, for
            which see :func:`check_sizes`.
        schedule: How often each is timed.

    Raises:
        InputError: If a model cannot be had in a form.
    """
    same_but_size: dict[tuple[Form, int], list[Workload]] = {}
    for workload in workloads:
        same_but_size.setdefault((workload.form, workload.batch), []).append(workload)
    lines = list(product(specs, same_but_size.values()))  # each becomes a curve
    calls = [[inference_call(spec, workload)[1] for workload in line] for spec, line in lines]
    device = workloads[0].host.device
    seconds = time_calls(list(chain(*calls)), make_timer(device), schedule)
    # (lines * sizes, rounds, calls) -> (lines, sizes, rounds, calls)
    seconds = seconds.reshape(len(lines), -1, *seconds.shape[1:])
    return [
        _curve(spec, line, own_calls, own_seconds)
        for (spec, line), own_calls, own_seconds in zip(lines, calls, seconds, strict=True)
    ]


def _curve(
    spec: ModelSpec,
    line: Sequence[Workload],
    calls: Sequence[Callable[[], object]],
    seconds: np.ndarray,
) -> dict[str, Any]:
    """Return time and memory of workloads that differ in their size alone.

    Args:
        spec: The model.
        line: The workloads.
        calls: Of each.
        seconds: ``(sizes, rounds, calls)``.
    """
    form, device, sizes = line[0].form, line[0].host.device, [workload.size for workload in line]
    ms = [statistics(times) for times in seconds]
    memory = [peak_of_call(call, device) for call in calls] if form.engine == 'torch' else None
    return dict(
        model=spec.name,
        form=form.name,
        batch=line[0].batch,
        sizes=sizes,
        ms=ms,
        bytes=memory,
        time_exponent=exponent(sizes, [each['p50'] for each in ms]),
        memory_exponent=exponent(sizes, memory) if memory else None,
    )


def check_sizes(sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse sizes that no exponent can be fitted to.

    Raises:
        InputError: If fewer than two are of 512 px or more.
    """
    if len({h * w for h, w in sizes if h * w >= FITTED_FROM**2}) < 2:
        raise InputError(
            f'--sizes: the exponent needs two sizes of {FITTED_FROM} px or more, such as '
            '--sizes 224 512 1024 2048'
        )


def exponent(sizes: Sequence[tuple[int, int]], values: Sequence[float]) -> float:
    """Return the power of the number of pixels that values grow with, from 512 px on: 1 is linear.

    Args:
        sizes: Heights and widths.
        values: Of each size, positive.
    """
    fitted = [
        (height * width, value)
        for (height, width), value in zip(sizes, values, strict=True)
        if height * width >= FITTED_FROM**2
    ]
    pixels, values = zip(*fitted, strict=True)
    return fit_exponent(pixels, values)


def fit_exponent(amounts: Sequence[float], values: Sequence[float]) -> float:
    """Return the ``e`` of the ``amounts ** e`` that values grow with: least squares on logarithms.

    Args:
        amounts: Two or more, positive.
        values: Of each amount, positive.
    """
    return float(np.polyfit(np.log(amounts), np.log(values), 1)[0])
