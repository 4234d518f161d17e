"""One run of the benchmark: what takes part, the timing, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from casvit_mm.benchmark import report
from casvit_mm.benchmark.cases import BenchmarkCase, Failure, build_cases
from casvit_mm.benchmark.comparison import compare, lead_over_peers
from casvit_mm.benchmark.file_cases import build_file_cases, build_prediction_cases
from casvit_mm.benchmark.forms import check_form
from casvit_mm.benchmark.host import facts
from casvit_mm.benchmark.inference import inference_call
from casvit_mm.benchmark.model_specs import ModelSpec, find_model_spec, official_model_spec
from casvit_mm.benchmark.parts import time_parts
from casvit_mm.benchmark.peers import OURS, PEERS, peers_of
from casvit_mm.benchmark.roofline import rooflines
from casvit_mm.benchmark.scaling import growth
from casvit_mm.benchmark.settings import Settings
from casvit_mm.benchmark.training import training_call
from casvit_mm.console import step
from casvit_mm.engine.timing import in_turn, make_timer, time_calls
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable
from casvit_mm.models.memory import peak_of_call
from casvit_mm.models.wrappers import WholeModel

__all__ = ['benchmark']


def benchmark(settings: Settings) -> dict[str, Any]:
    """Time what the settings name, print it, and write it where they say.

    Returns:
        What is written as JSON.

    Raises:
        InputError: If something named is not there or cannot be run here.
    """
    check_writable({}, {'--out': settings.out})
    host = settings.host
    torch.set_num_threads(host.threads)
    cv2.setNumThreads(host.threads)
    torch.backends.cudnn.benchmark = True
    failures: list[Failure] | None = [] if settings.keep_going else None
    settings = _with_possible_forms(settings, failures)
    result: dict[str, Any] = dict(host=facts(host.device, host.threads), settings=vars(settings))
    specs = _find_models(settings)
    if settings.roofline:
        found = rooflines(specs, settings.workloads, settings.schedule)
        result |= dict(kind='roofline', rooflines=found)
    elif settings.sizes:
        result |= dict(kind='growth', curves=growth(specs, settings.workloads, settings.schedule))
    else:
        result |= _comparison(specs, settings, failures)
    report.present(result, Path(settings.out) if settings.out else None)
    return result


def _find_models(settings: Settings) -> list[ModelSpec]:
    """Return the models; the published code before ours, so that it is the baseline."""
    specs = []
    for name in settings.model_names:
        spec = find_model_spec(name, settings.part, settings.checkpoint)
        if settings.official and spec.family in OURS:
            specs.append(official_model_spec(spec.family, settings.official))
        specs.append(spec)
    if settings.peers is not None:
        names = peers_of(settings.peers) if settings.peers else list(PEERS)
        specs += [find_model_spec(name) for name in names if name not in settings.model_names]
    return specs


def _with_possible_forms(settings: Settings, failures: list[Failure] | None) -> Settings:
    """Return the settings with the forms that this host can run.

    Raises:
        InputError: If it cannot run one and ``failures`` is None, which takes those otherwise; or
            if it can run none.
    """
    forms = []
    for form in settings.chosen_forms:
        try:
            check_form(form, settings.host.device)
        except InputError as error:
            if failures is None:
                raise
            failures.append(Failure('every model', form.name, 0, str(error), memory=False))
        else:
            forms.append(form.name)
    if failures and not forms:
        raise InputError('\n'.join(failure.reason for failure in failures))
    return replace(settings, forms=forms)


def _comparison(
    specs: Sequence[ModelSpec], settings: Settings, failures: list[Failure] | None
) -> dict[str, Any]:
    """Time every model in every form, and compare them.

    Raises:
        InputError: If nothing is left to time.
    """
    notes: list[str] = []
    cases = _build_all_cases(specs, settings, notes, failures)
    if failures and not cases:
        raise InputError('\n'.join(map(str, failures)))
    whole = [case for case in cases if isinstance(case.module, WholeModel)]
    if settings.by_part and not whole:
        raise InputError('--by-part is for whole detectors and segmentors in a form of torch')
    timer = make_timer(settings.host.device)
    seconds = time_calls([case.call for case in cases], timer, settings.schedule)
    rows = compare(cases, seconds)
    result: dict[str, Any] = dict(
        kind='training step' if settings.train else 'inference',
        rows=rows,
        notes=notes,
        lead=lead_over_peers(rows),
        failures=[vars(failure) for failure in failures or ()],
    )
    if settings.host.device.startswith('cuda'):
        for row, case in zip(rows, cases, strict=True):
            row['memory'] = _peak(case, settings.host.device)
    if settings.by_part:
        result['parts'] = _by_part(whole, settings)
    return result


def _peak(case: BenchmarkCase, device: str) -> int | None:
    """Return the bytes that a call takes on a GPU; of a CUDA graph and an engine it is not told."""
    form = case.workload.form
    if form.engine != 'torch' or form.cuda_graph:
        return None
    return peak_of_call(case.call, device)


def _build_all_cases(
    specs: Sequence[ModelSpec],
    settings: Settings,
    notes: list[str],
    failures: list[Failure] | None,
) -> list[BenchmarkCase]:
    """Return the cases of the models, of files as networks, and of files from pixels to results."""
    build_call = training_call if settings.train else inference_call
    cases = []
    for spec in specs:
        with step(f'{spec.name}: building'):
            cases += build_cases(spec, settings.workloads, notes, build_call, failures)
    family = specs[0].family if len(specs) == 1 else 'files'  # a file beside the one it is from
    for text in settings.files:
        cases += build_file_cases(
            text, family, settings.batches, settings.image_sizes, settings.host
        )
    for text in settings.predict:
        cases += build_prediction_cases(
            text, family, settings.image_sizes, settings.host, settings.score_thr
        )
    return cases


def _by_part(cases: Sequence[BenchmarkCase], settings: Settings) -> list[dict[str, Any]]:
    """Return the milliseconds of each part of whole models, timed in turn as well."""
    device = settings.host.device

    def visit(case: BenchmarkCase) -> dict[str, list[float]]:
        assert isinstance(case.module, WholeModel)
        case.call()
        return time_parts(case.module.model, case.call, settings.calls, device)

    visits = in_turn([partial(visit, case) for case in cases], settings.schedule)
    rows = []
    for case, found in zip(cases, visits, strict=True):
        parts = {name: 1000 * float(np.median([each[name] for each in found])) for name in found[0]}
        rows.append(
            dict(model=case.name, form=case.workload.form.name, batch=case.workload.batch, ms=parts)
        )
    return rows
