"""One run of the benchmark: who takes part, the timing, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from casvit_mm.benchmark import report
from casvit_mm.benchmark.cases import Contestant, enter, enter_file, make_call
from casvit_mm.benchmark.forms import check_form
from casvit_mm.benchmark.host import facts
from casvit_mm.benchmark.model_specs import Subject, WholeModel, find_subject, official_subject
from casvit_mm.benchmark.parts import time_parts
from casvit_mm.benchmark.peers import OURS, PEERS, peers_of
from casvit_mm.benchmark.roofline import rooflines
from casvit_mm.benchmark.scaling import growth
from casvit_mm.benchmark.settings import Settings
from casvit_mm.benchmark.training import training_call
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable
from casvit_mm.timing import in_turn, make_timer, speed_up, statistics, time_calls

__all__ = ['benchmark', 'compare', 'lead_over_peers']


def benchmark(settings: Settings) -> dict[str, Any]:
    """Time what the settings name, print it, and write it where they say.

    Returns:
        What is written as JSON.

    Raises:
        InputError: If something named is not there or cannot be run here.
    """
    check_writable({}, {'--out': settings.out})
    host, forms = settings.host, settings.chosen_forms
    torch.set_num_threads(host.threads)
    torch.backends.cudnn.benchmark = True
    for form in forms:
        check_form(form, host.device)
    result: dict[str, Any] = dict(host=facts(host.device, host.threads), settings=vars(settings))
    if settings.roofline:
        result |= dict(kind='roofline', rooflines=rooflines(settings))
    elif settings.sizes:
        result |= dict(kind='growth', curves=growth(settings))
    else:
        result |= _comparison(settings)
    report.present(result, Path(settings.out) if settings.out else None)
    return result


def _subjects(settings: Settings) -> list[Subject]:
    """Return who takes part; the published code before ours, so that it is the baseline."""
    ours = [find_subject(name, settings.part, settings.checkpoint) for name in settings.subjects]
    found = []
    for subject in ours:
        if settings.official and subject.family in OURS:
            found.append(official_subject(subject.family, settings.official))
        found.append(subject)
    if settings.peers is not None:
        names = peers_of(settings.peers) if settings.peers else list(PEERS)
        found += [find_subject(name) for name in names if name not in settings.subjects]
    return found


def _comparison(settings: Settings) -> dict[str, Any]:
    notes: list[str] = []
    subjects = _subjects(settings)
    entered = _enter_all(settings, subjects, notes)
    whole = [one for one in entered if isinstance(one.module, WholeModel)]
    if settings.by_part and not whole:
        raise InputError('--by-part is for whole detectors and segmentors in a form of torch')
    timer = make_timer(settings.host.device)
    seconds = time_calls([one.call for one in entered], timer, settings.schedule)
    rows = compare(entered, seconds)
    result: dict[str, Any] = dict(
        kind='training step' if settings.train else 'inference',
        rows=rows,
        notes=notes,
        lead=lead_over_peers(rows),
    )
    if settings.by_part:
        result['parts'] = _by_part(whole, settings)
    return result


def _enter_all(settings: Settings, subjects: list[Subject], notes: list[str]) -> list[Contestant]:
    host, forms, batches, sizes = (
        settings.host,
        settings.chosen_forms,
        settings.batches,
        settings.image_sizes,
    )
    make = training_call if settings.train else make_call
    entered = []
    for subject in subjects:
        entered += enter(subject, forms, batches, sizes, host, notes, make)
    family = subjects[0].family if len(subjects) == 1 else 'files'
    for text in settings.files:
        entered += enter_file(text, family, batches, sizes, host)
    return entered


def compare(entered: Sequence[Contestant], seconds: np.ndarray) -> list[dict[str, Any]]:
    """Return a row of figures per contestant.

    The baseline of a row is the first of the same family, batch and size; where no family has a
    second one, it is the first of that batch and size.

    Args:
        entered: The contestants.
        seconds: Of every call, (contestants, rounds, calls).
    """
    alone = len({(one.family, one.batch, one.size) for one in entered}) == len(entered)

    def group(one: Contestant) -> tuple:
        return ('' if alone else one.family, one.batch, one.size)

    first: dict[tuple, int] = {}
    for index, one in enumerate(entered):
        first.setdefault(group(one), index)
    rows = []
    for index, one in enumerate(entered):
        times = seconds[index]
        baseline = first[group(one)]
        rows.append(
            dict(
                model=one.name,
                form=one.form.name,
                batch=one.batch,
                height=one.size[0],
                width=one.size[1],
                parameters=one.parameters,
                multiply_adds=one.multiply_adds,
                top1=one.top1,
                peer=one.peer,
                ms=statistics(times),
                images_per_second=one.batch / float(np.median(times)),
                faster=speed_up(seconds[baseline], times),
                than=f'{entered[baseline].name} {entered[baseline].form.name}',
                rounds_ms=(1000 * np.median(times, axis=1)).round(4).tolist(),
            )
        )
    return rows


def lead_over_peers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many times faster each of ours is than the fastest peer at least as accurate.

    Where that peer has its accuracy at larger images than those it is timed with, the fastest of
    the others follows.

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


def _by_part(whole: Sequence[Contestant], settings: Settings) -> list[dict[str, Any]]:
    """Return the milliseconds of each part of the whole models, timed in turn as well."""
    device = settings.host.device

    def visit(one: Contestant) -> dict[str, list[float]]:
        assert isinstance(one.module, WholeModel)
        one.call()
        return time_parts(one.module.model, one.call, settings.calls, device)

    visits = in_turn([partial(visit, one) for one in whole], settings.schedule)
    rows = []
    for one, found in zip(whole, visits, strict=True):
        parts = {name: 1000 * float(np.median([each[name] for each in found])) for name in found[0]}
        rows.append(dict(model=one.name, form=one.form.name, batch=one.batch, ms=parts))
    return rows
