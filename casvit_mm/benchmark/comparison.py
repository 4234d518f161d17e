"""Rows of the table from the seconds that were measured, and our lead over the peers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from casvit_mm.benchmark.cases import BenchmarkCase
from casvit_mm.benchmark.peers import PEERS
from casvit_mm.engine.timing import speed_up, statistics

__all__ = ['compare', 'lead_over_peers']


def compare(cases: Sequence[BenchmarkCase], seconds: np.ndarray) -> list[dict[str, Any]]:
    """Return a row of measurements per case.

    The baseline of a row is the first of the same family, batch and size; where no family has a
    second one, it is the first of that batch and size.

    Args:
        cases: What was timed.
        seconds: Of every call, (cases, rounds, calls).
    """
    alone = len({(case.family, case.workload.batch, case.workload.size) for case in cases}) == len(
        cases
    )

    def group(case: BenchmarkCase) -> tuple:
        return ('' if alone else case.family, case.workload.batch, case.workload.size)

    first: dict[tuple, int] = {}
    for index, case in enumerate(cases):
        first.setdefault(group(case), index)
    rows = []
    for index, case in enumerate(cases):
        times, workload = seconds[index], case.workload
        baseline = cases[first[group(case)]]
        rows.append(
            dict(
                model=case.name,
                form=workload.form.name,
                batch=workload.batch,
                height=workload.size[0],
                width=workload.size[1],
                parameters=case.parameters,
                multiply_adds=case.multiply_adds,
                top1=case.top1,
                peer=case.peer,
                ms=statistics(times),
                images_per_second=workload.batch / float(np.median(times)),
                faster=speed_up(seconds[first[group(case)]], times),
                than=f'{baseline.name} {baseline.workload.form.name}',
                rounds_ms=(1000 * np.median(times, axis=1)).round(4).tolist(),
            )
        )
    return rows


def lead_over_peers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many times faster each of ours is than the fastest peer at least as accurate.

    Some peers reach their accuracy at larger images than they are timed with here. Where such a
    peer is the fastest, a second entry compares with the fastest of the others.

    Args:
        rows: Of :func:`compare`. Peers count in the same form, batch and size.
    """
    leads = []
    for ours in rows:
        if ours['peer'] or ours['top1'] is None:
            continue
        rivals = [
            row
            for row in rows
            if row['peer']
            and row['top1'] is not None
            and row['top1'] >= ours['top1']
            and all(row[key] == ours[key] for key in ('form', 'batch', 'height', 'width'))
        ]
        at_their_size = [row for row in rivals if _published_pixels(row) <= row['width']]
        found = [_lead(ours, chosen) for chosen in (rivals, at_their_size) if chosen]
        leads += found if len({lead['rival'] for lead in found}) == 2 else found[:1]
    return leads


def _published_pixels(row: dict[str, Any]) -> int:
    """Return the side of the images that the published accuracy of a peer belongs to."""
    peer = PEERS.get(row['model'])
    return peer.pixels if peer else row['width']


def _lead(ours: dict[str, Any], rivals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare one of ours with the fastest of its rivals."""
    times = np.array(ours['rounds_ms'])[:, None]
    ratios = [speed_up(np.array(row['rounds_ms'])[:, None], times) for row in rivals]
    index = int(np.argmin([ratio['median'] for ratio in ratios]))
    return dict(
        model=ours['model'],
        top1=ours['top1'],
        form=ours['form'],
        batch=ours['batch'],
        rival=rivals[index]['model'],
        rival_top1=rivals[index]['top1'],
        rival_pixels=_published_pixels(rivals[index]),
        faster=ratios[index],
    )
