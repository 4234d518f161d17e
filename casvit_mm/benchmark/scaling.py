"""How time and memory grow with the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.benchmark.cases import make_call
from casvit_mm.benchmark.cost import peak_of_call
from casvit_mm.benchmark.inputs import SMALLEST
from casvit_mm.benchmark.model_specs import find_subject
from casvit_mm.benchmark.settings import Settings
from casvit_mm.timing import make_timer, statistics, time_calls

__all__ = ['exponent', 'growth']


def exponent(sizes: Sequence[tuple[int, int]], values: Sequence[float]) -> float:
    """Return the power of the number of pixels that values grow with: 1 is linear.

    Least squares on logarithms, over the sizes of 512 px and more.

    Args:
        sizes: Heights and widths.
        values: Of each size, positive.
    """
    kept = [
        (height * width, value)
        for (height, width), value in zip(sizes, values, strict=True)
        if height * width >= SMALLEST**2
    ]
    pixels, found = np.log(np.array(kept, float)).T
    return float(np.polyfit(pixels, found, 1)[0])


def growth(settings: Settings) -> list[dict[str, Any]]:
    """Return time and memory over the size of the image, for each model, form and batch.

    Memory is PyTorch's; an engine does not tell its own.

    Raises:
        InputError: If a model cannot be had in a form.
    """
    host, sizes = settings.host, settings.image_sizes
    keys = list(product(settings.subjects, settings.chosen_forms, settings.batches))
    calls = []
    for name, form, batch in keys:
        subject = find_subject(name, settings.part, settings.checkpoint)
        calls.append([make_call(subject, form, batch, size, host)[1] for size in sizes])
    timer = make_timer(host.device)
    seconds = time_calls(list(chain(*calls)), timer, settings.schedule)
    curves = []
    for index, (name, form, batch) in enumerate(keys):
        own = seconds[index * len(sizes) : (index + 1) * len(sizes)]
        ms = [statistics(times) for times in own]
        torch_form = form.engine == 'torch'
        memory = [peak_of_call(call, host.device) for call in calls[index]] if torch_form else None
        curves.append(
            dict(
                model=Path(name).stem,
                form=form.name,
                batch=batch,
                sizes=sizes,
                ms=ms,
                bytes=memory,
                time_exponent=exponent(sizes, [each['p50'] for each in ms]),
                memory_exponent=exponent(sizes, memory) if memory else None,
            )
        )
    return curves
