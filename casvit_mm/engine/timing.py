"""Timing on a noisy machine: calls take turns in random order, ratios are within a round."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import torch

from casvit_mm.console import StatusLine

__all__ = [
    'CudaTimer',
    'Schedule',
    'Timer',
    'WallTimer',
    'in_turn',
    'make_timer',
    'speed_up',
    'statistics',
    'time_calls',
]

T = TypeVar('T')


@dataclass(frozen=True)
class Schedule:
    """How often and in which order calls are timed.

    Attributes:
        rounds: Number of rounds; each call has one turn in each.
        calls: Timed calls per turn.
        settle: Seconds at the start of a turn that are not timed: caches and threads are still
            those of the turn before.
        seed: Of the random order in each round.
    """

    rounds: int
    calls: int
    settle: float
    seed: int


class Timer(Protocol):
    """Measures the time of calls on one kind of device."""

    def settle(self, call: Callable[[], object], seconds: float) -> None:
        """Call without timing, at least once and for at least so many seconds."""

    def time(self, call: Callable[[], object], calls: int) -> list[float]:
        """Return the seconds of each of so many calls."""


class WallTimer:
    """Times on the CPU.

    Args:
        clock: Seconds since any moment.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def settle(self, call: Callable[[], object], seconds: float) -> None:
        end = self._clock() + seconds
        while True:
            call()
            if self._clock() >= end:
                return

    def time(self, call: Callable[[], object], calls: int) -> list[float]:
        seconds = []
        for _ in range(calls):
            start = self._clock()
            call()
            seconds.append(self._clock() - start)
        return seconds


class CudaTimer:
    """Times on a GPU by its events, so that launching the next call overlaps, as in real use."""

    def settle(self, call: Callable[[], object], seconds: float) -> None:
        end = time.perf_counter() + seconds
        while True:
            call()
            torch.cuda.synchronize()
            if time.perf_counter() >= end:
                return

    def time(self, call: Callable[[], object], calls: int) -> list[float]:
        events = [torch.cuda.Event(enable_timing=True) for _ in range(calls + 1)]
        events[0].record()
        for event in events[1:]:
            call()
            event.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairwise(events)]


def make_timer(device: str) -> Timer:
    """Return the timer for a device."""
    return CudaTimer() if device.startswith('cuda') else WallTimer()


def in_turn(visits: Sequence[Callable[[], T]], schedule: Schedule) -> list[list[T]]:
    """Call every function once per round, each round in another random order.

    Args:
        visits: The functions; what they return is kept.
        schedule: Its rounds and seed.

    Returns:
        For each function what it returned, round by round.
    """
    orders = random.Random(schedule.seed)
    kept: list[list[T]] = [[] for _ in visits]
    with StatusLine('timing') as line:
        for done in range(schedule.rounds):
            line.show('timing', f'round {done + 1}/{schedule.rounds}', done / schedule.rounds)
            for index in orders.sample(range(len(visits)), len(visits)):
                kept[index].append(visits[index]())
    return kept


def time_calls(
    calls: Sequence[Callable[[], object]], timer: Timer, schedule: Schedule
) -> np.ndarray:
    """Return the seconds of every call, ``(len(calls), rounds, calls per turn)``.

    Args:
        calls: What to time. Before the first round each is called without timing: kernels are
            chosen and code is compiled then.
        timer: For the device.
        schedule: How often, in which order.
    """

    def visit(call: Callable[[], object]) -> list[float]:
        timer.settle(call, schedule.settle)
        return timer.time(call, schedule.calls)

    for call in calls:
        timer.settle(call, schedule.settle)
    return np.array(in_turn([partial(visit, call) for call in calls], schedule))


def statistics(seconds: np.ndarray) -> dict[str, float]:
    """Return median, quartiles, extremes and percentiles in milliseconds.

    Args:
        seconds: Of every call, any shape.
    """
    points = dict(min=0, q1=25, p50=50, q3=75, p90=90, p99=99, max=100)
    values = 1000 * np.percentile(seconds, list(points.values()))
    return dict(zip(points, values.tolist(), strict=True))


def speed_up(baseline: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return how many times faster ``other`` is: the median of the ratios within each round.

    What slows the machine for a while slows both within a round, and cancels.

    Args:
        baseline: (rounds, calls) seconds.
        other: (rounds, calls) seconds of the same rounds.

    Returns:
        ``median``, ``q1`` and ``q3`` over the rounds.
    """
    ratios = np.median(baseline, axis=1) / np.median(other, axis=1)
    q1, median, q3 = np.percentile(ratios, (25, 50, 75)).tolist()
    return dict(median=median, q1=q1, q3=q3)
