"""Rows of the table that are files: networks of any maker, and ours from pixels to results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from casvit_mm.benchmark.cases import BenchmarkCase
from casvit_mm.benchmark.engines import open_file
from casvit_mm.benchmark.file_inputs import FileInputs, describe_inputs
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.host import Host
from casvit_mm.benchmark.inputs import pixels
from casvit_mm.benchmark.workload import Workload
from casvit_mm.deploy.engines import ENGINES, Engine, engine_of, is_exported
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.predictor import Predictor
from casvit_mm.errors import InputError
from casvit_mm.prediction.loading import SCORE_THR, load

__all__ = ['build_file_cases', 'build_prediction_cases']


def build_file_cases(
    text: str, family: str, batches: Sequence[int], sizes: Sequence[tuple[int, int]], host: Host
) -> list[BenchmarkCase]:
    """Return the cases of a file as a network: one for each input size that it takes.

    Args:
        text: Path of a file of ours, or of any maker in ``.onnx`` or ``.xml``; OpenVINO's
            precision may follow, as in ``model.xml+bf16``.
        family: Group of models that it is compared with.
        batches: Images per call, where the file leaves them open.
        sizes: Heights and widths, likewise.
        host: Where it runs.

    Raises:
        InputError: If the file cannot be run, or it is not known what its inputs take.
    """
    path, form, engine = _open(text, '--file', host)
    found = FileInputs.find(engine.inputs, path)
    # A fixed axis of the file goes before what is asked for, so that some inputs may be equal.
    count, *sides = found.shape
    shapes = dict.fromkeys(
        (count or batch, (sides[0] or height, sides[1] or width))
        for height, width in sizes
        for batch in batches
    )
    cases = []
    for batch, size in shapes:
        call = engine.bind(*found.arrays(pixels(batch, size, host.image)))
        _try(call, path, found, size)
        cases.append(BenchmarkCase(path.name, family, Workload(form, batch, size, host), call))
    return cases


def _open(text: str, option: str, host: Host) -> tuple[Path, Form, Engine]:
    name, _, precision = text.partition('+')
    path = Path(name)
    kind = engine_of(path)
    if kind is None or kind.executes:
        known = [engine.suffix for engine in ENGINES if not engine.executes]
        raise InputError(f'{option} {text}: known are {", ".join(known)}')
    form = Form('+'.join(filter(None, (kind.name, precision))), kind.name, precision or 'fp32')
    return path, form, open_file(path, kind, host.threads, precision or None)


def _try(call: Callable[[], object], path: Path, found: FileInputs, size: tuple[int, int]) -> None:
    """Run a file once, before others are timed.

    Raises:
        InputError: If it does not take what it is given.
    """
    try:
        call()
    except Exception as error:  # engines have a dozen errors, without a common parent
        height, width = size
        raise InputError(
            f'{path} cannot be run on {width}x{height} pixels; it takes '
            f'{describe_inputs(found.inputs)}. Name another --size: {str(error).strip()[-300:]}'
        ) from error


def build_prediction_cases(
    text: str,
    family: str,
    sizes: Sequence[tuple[int, int]],
    host: Host,
    score_thr: float | None = None,
) -> list[BenchmarkCase]:
    """Return the cases of a model from the pixels of a picture to boxes, masks, labels or a class.

    Resizing, normalisation, network, choice of objects and the way back to the picture's pixels
    are timed; reading its file is not.

    Args:
        text: Path of a file that ``casvit-mm export`` wrote, with OpenVINO's precision behind it if
            wanted, or of a checkpoint that holds its config.
        family: Group of models that it is compared with.
        sizes: Heights and widths of the picture.
        host: Where it runs.
        score_thr: Minimum score of a detection; 0.3 if None.

    Raises:
        InputError: If the file cannot be loaded, or ``casvit-mm export`` did not write it.
    """
    path, form, model = _load(text, host, score_thr)
    form = replace(form, name=f'predict, {form.name}')
    cases = []
    for size in sizes:
        picture = np.ascontiguousarray(pixels(1, size, host.image)[0].transpose(1, 2, 0))
        call = partial(model, picture)
        call()
        cases.append(BenchmarkCase(path.name, family, Workload(form, 1, size, host), call))
    return cases


def _load(text: str, host: Host, score_thr: float | None) -> tuple[Path, Form, ImageModel]:
    if not is_exported(text.partition('+')[0]):
        model = load(text, score_thr=score_thr, device=host.device)
        return Path(text), Form.parse('eager'), model
    path, form, engine = _open(text, '--predict', host)
    least = SCORE_THR if score_thr is None else score_thr
    return path, form, Predictor(engine, max(least, engine.spec.score_thr))
