"""Where the time of a whole detector or segmentor goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ['PARTS', 'REST', 'time_parts']

# By name in a detector or segmentor: backbone, neck, the heads' convolutions.
PARTS = {
    'backbone': 'backbone',
    'neck': 'neck',
    'rpn_head': 'RPN head',
    'bbox_head': 'head',
    'decode_head': 'head',
    'roi_head.bbox_roi_extractor': 'box head',
    'roi_head.bbox_head': 'box head',
    'roi_head.mask_roi_extractor': 'mask head',
    'roi_head.mask_head': 'mask head',
}
REST = 'post-processing'


def time_parts(
    model: nn.Module,
    call: Callable[[], object],
    calls: int,
    device: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each part, for each of so many calls.

    What no part's forward accounts for is decoding, non-maximum suppression, pasting of masks and
    the like: the rest.

    Args:
        model: Of mmdet or mmseg.
        call: Runs it once.
        calls: Number of them.
        device: Where it runs.
        clock: Seconds since any moment, on the CPU.
    """
    cuda = device.startswith('cuda')
    stamp = _cuda_stamp if cuda else clock
    names = {path: name for path, name in PARTS.items() if _find(model, path) is not None}
    seconds: dict[str, list[float]] = {name: [] for name in [*dict.fromkeys(names.values()), REST]}
    for _ in range(calls):
        spans: list[tuple[str, Any, Any]] = []
        start = stamp()
        with _recording(model, names, stamp, spans):
            call()
        end = stamp()
        if cuda:
            torch.cuda.synchronize()
        whole = _elapsed(start, end)
        sums = dict.fromkeys(names.values(), 0.0)
        for name, first, last in spans:
            sums[name] += _elapsed(first, last)
        for name, value in {**sums, REST: whole - sum(sums.values())}.items():
            seconds[name].append(value)
    return seconds


@contextmanager
def _recording(
    model: nn.Module, names: dict[str, str], stamp: Callable[[], Any], spans: list
) -> Iterator[None]:
    """Note start and end of each part's forward.

    Not by hooks: mmseg calls ``forward`` of its heads itself, past the hooks.
    """
    modules = [(_find(model, path), name) for path, name in names.items()]
    kept = [(module, module.__dict__.get('forward')) for module, _ in modules]

    def noted(forward: Callable, name: str) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = stamp()
            result = forward(*args, **kwargs)
            spans.append((name, start, stamp()))
            return result

        return run

    try:
        for module, name in modules:
            module.forward = noted(module.forward, name)
        yield
    finally:
        for module, forward in kept:
            if forward is None:
                del module.forward
            else:  # a compiled module holds its own
                module.forward = forward


def _find(model: nn.Module, path: str) -> Any:
    found: Any = model
    for name in path.split('.'):
        found = getattr(found, name, None)
    return found


def _cuda_stamp() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _elapsed(start: Any, end: Any) -> float:
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1000
