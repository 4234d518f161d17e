"""What takes part in one run: each model in each form, batch size and image size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import nn

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.engines import ENGINE_OF_SUFFIX, open_file, run_exported
from casvit_mm.benchmark.forms import Form, as_input, compile_model, prepare
from casvit_mm.benchmark.inputs import normalise, pixels
from casvit_mm.benchmark.model_specs import Subject, WholeModel
from casvit_mm.benchmark.peers import count_norms, fold_norms
from casvit_mm.errors import InputError
from casvit_mm.models.complexity import multiply_adds

__all__ = ['Contestant', 'Host', 'enter', 'enter_file', 'in_form', 'make_call']


@dataclass(frozen=True)
class Host:
    """Where and on what a run takes place.

    Attributes:
        device: ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.
        threads: Of the CPU, for PyTorch and for each engine.
        image: File of the picture that is put in; None puts in noise.
    """

    device: str = 'cpu'
    threads: int = 1
    image: str | None = None


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: Of the model.
        family: What it is compared within.
        form: How it runs.
        batch: Images per call.
        size: Height and width in pixels.
        call: Runs it once.
        parameters: Number of them; None for an exported file.
        multiply_adds: Of one image, in a two-stage detector with the proposals that it found; None
            for an exported file.
        top1: Published ImageNet top-1 in percent, if any.
        peer: Whether it is a model of timm.
        module: What runs, for the time by part; None in an engine.
    """

    name: str
    family: str
    form: Form
    batch: int
    size: tuple[int, int]
    call: Callable[[], object]
    parameters: int | None = None
    multiply_adds: int | None = None
    top1: float | None = None
    peer: bool = False
    module: nn.Module | None = None


Make = Callable[
    [Subject, Form, int, tuple[int, int], Host], tuple[nn.Module | None, Callable[[], object]]
]


def enter(
    subject: Subject,
    forms: Sequence[Form],
    batches: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    host: Host,
    notes: list[str],
    make: Make | None = None,
) -> list[Contestant]:
    """Make the contestants of one model.

    Args:
        subject: The model.
        forms: Each, with every batch and size.
        batches: Images per call.
        sizes: Heights and widths.
        host: Where it runs.
        notes: Takes what the reader of the figures should know.
        make: Makes the call that is timed; :func:`make_call` if None.

    Raises:
        InputError: If our model cannot be had in a form; of others that is a note.
    """
    model = subject.build()
    if subject.peer:
        notes.append(_describe_peer(subject, model, any(form.fused for form in forms)))
    parameters = count_parameters(model)
    counts = {size: multiply_adds(model, normalise(pixels(1, size, host.image))) for size in sizes}
    entered = []
    for size, form, batch in product(sizes, forms, batches):
        try:
            module, call = (make or make_call)(subject, form, batch, size, host)
        except InputError as error:
            if not (subject.peer or subject.official):
                raise
            notes.append(f'{subject.name} {form.name} left out: {error}')
            continue
        entered.append(
            Contestant(
                subject.name,
                subject.family,
                form,
                batch,
                size,
                call,
                parameters,
                counts[size],
                subject.top1,
                subject.peer,
                module,
            )
        )
    return entered


def _describe_peer(subject: Subject, model: nn.Module, fused: bool) -> str:
    left = f'{count_norms(model)} BatchNorms left'
    if fused:
        left += f', {count_norms(fold_norms(model))} where fused'
    return f'{subject.name}: {subject.note}as timm re-parameterises it, {left}'


def in_form(subject: Subject, form: Form, device: str) -> nn.Module:
    """Return a model in eval mode in a form of PyTorch, not yet compiled.

    Raises:
        InputError: If it has no such form.
    """
    model = subject.build()
    if form.fused:
        model = _fuse(subject, model)
    return prepare(model, form, device)


def make_call(
    subject: Subject, form: Form, batch: int, size: tuple[int, int], host: Host
) -> tuple[nn.Module | None, Callable[[], object]]:
    """Return the module that runs, None in an engine, and a call that runs it once.

    Raises:
        InputError: If the model cannot be had in this form.
    """
    x = normalise(pixels(batch, size, host.image))
    if form.engine != 'torch':
        model = _fuse(subject, subject.build()) if form.fused else subject.build()
        if isinstance(model, WholeModel):
            raise InputError(
                f'{subject.name} {form.name}: a whole detector or segmentor is exported by '
                'tools/export.py; time the file by --file, or the backbone by --part backbone'
            )
        return None, run_exported(model, x, form.engine, host.threads, form.precision)
    model = in_form(subject, form, host.device)
    if isinstance(model, WholeModel) and form.precision in ('bf16', 'fp16'):
        raise InputError(
            f'{subject.name} {form.name}: non-maximum suppression and the like need float32. Use '
            'amp, or time an exported file by --file'
        )
    if form.compile:
        model = compile_model(model)
    x = as_input(x, form, host.device)
    kind = host.device.partition(':')[0]

    def call() -> object:
        mixed = torch.autocast(kind, torch.bfloat16) if form.precision == 'amp' else nullcontext()
        with torch.inference_mode(), mixed:
            return model(x)

    return model, call


def _fuse(subject: Subject, model: nn.Module) -> nn.Module:
    if subject.official:
        raise InputError('the published code has no form without norms')
    if subject.peer:
        return fold_norms(model)
    from casvit_mm import fuse  # type: ignore[attr-defined]

    inner = getattr(model, 'model', None)
    if inner is None:
        return fuse(model)
    model.model = fuse(inner)  # the wrapper only says how it is called
    return model


def enter_file(
    text: str, family: str, batches: Sequence[int], sizes: Sequence[tuple[int, int]], host: Host
) -> list[Contestant]:
    """Make the contestants of one exported file.

    Args:
        text: Path of ``.onnx`` or ``.xml``; OpenVINO's precision may follow, as in
            ``model.xml+bf16``.
        family: What it is compared within.
        batches: Images per call, where the file leaves them open.
        sizes: Heights and widths, likewise.
        host: Where it runs.

    Raises:
        InputError: If the file cannot be run.
    """
    name, _, precision = text.partition('+')
    path = Path(name)
    engine = ENGINE_OF_SUFFIX.get(path.suffix)
    if engine is None:
        raise InputError(f'--file {text}: known are {" and ".join(ENGINE_OF_SUFFIX)}')
    form = Form.parse('+'.join(filter(None, (engine, precision))))
    opened = open_file(path, engine, host.threads, precision or None)
    entered = []
    for batch, size in dict.fromkeys(
        (opened.shape[0] or batch, (opened.shape[2] or size[0], opened.shape[3] or size[1]))
        for size in sizes
        for batch in batches
    ):
        bgr = pixels(batch, size, host.image)
        call = opened.start(bgr if opened.integer else normalise(bgr).numpy())
        entered.append(Contestant(path.name, family, form, batch, size, call))
    return entered
