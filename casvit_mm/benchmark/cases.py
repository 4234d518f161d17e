"""The rows of the table: each model in each form, batch size and image size; exported files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.engines import ENGINE_OF_SUFFIX, open_file
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.host import Host
from casvit_mm.benchmark.inference import inference_call
from casvit_mm.benchmark.inputs import normalise, pixels
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.peers import count_norms, fold_norms
from casvit_mm.benchmark.workload import Workload
from casvit_mm.errors import InputError
from casvit_mm.models.complexity import multiply_adds

__all__ = ['BenchmarkCase', 'build_cases', 'build_file_cases']


@dataclass(frozen=True)
class BenchmarkCase:
    """One row of the table: a call to time, and what the table says of it.

    Attributes:
        name: Name of the model.
        family: Group of models that are compared with each other.
        workload: What a call computes.
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
    workload: Workload
    call: Callable[[], object]
    parameters: int | None = None
    multiply_adds: int | None = None
    top1: float | None = None
    peer: bool = False
    module: nn.Module | None = None


# inference_call or training_call
BuildCall = Callable[[ModelSpec, Workload], tuple[nn.Module | None, Callable[[], object]]]


def build_cases(
    spec: ModelSpec,
    workloads: Sequence[Workload],
    notes: list[str],
    build_call: BuildCall = inference_call,
) -> list[BenchmarkCase]:
    """Return the cases of one model, one for each workload.

    Args:
        spec: The model.
        workloads: What it computes.
        notes: Takes what the reader of the table should know.
        build_call: Returns the call that is timed.

    Raises:
        InputError: If our model cannot be had in a form; of others that is a note.
    """
    model = spec.build()
    if spec.peer:
        notes.append(
            _describe_peer(spec, model, any(workload.form.fused for workload in workloads))
        )
    parameters = count_parameters(model)
    one_image = {workload.size: replace(workload, batch=1).images() for workload in workloads}
    counts = {size: multiply_adds(model, x) for size, x in one_image.items()}
    cases = []
    for workload in workloads:
        try:
            module, call = build_call(spec, workload)
        except InputError as error:
            if not (spec.peer or spec.official):
                raise
            notes.append(f'{spec.name} {workload.form.name} left out: {error}')
            continue
        case = BenchmarkCase(
            spec.name,
            spec.family,
            workload,
            call,
            parameters,
            counts[workload.size],
            spec.top1,
            spec.peer,
            module,
        )
        cases.append(case)
    return cases


def _describe_peer(spec: ModelSpec, model: nn.Module, fused: bool) -> str:
    left = f'{count_norms(model)} BatchNorms left'
    if fused:
        left += f', {count_norms(fold_norms(model))} where fused'
    return f'{spec.name}: {spec.note}as timm re-parameterises it, {left}'


def build_file_cases(
    text: str, family: str, batches: Sequence[int], sizes: Sequence[tuple[int, int]], host: Host
) -> list[BenchmarkCase]:
    """Return the cases of one exported file: one for each input size that the file takes.

    Args:
        text: Path of ``.onnx`` or ``.xml``; OpenVINO's precision may follow, as in
            ``model.xml+bf16``.
        family: Group of models that it is compared with.
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
    # A fixed axis of the file goes before what is asked for, so that some inputs may be equal.
    inputs = dict.fromkeys(
        (opened.shape[0] or batch, (opened.shape[2] or height, opened.shape[3] or width))
        for height, width in sizes
        for batch in batches
    )
    cases = []
    for batch, size in inputs:
        bgr = pixels(batch, size, host.image)
        call = opened.start(bgr if opened.integer else normalise(bgr).numpy())
        cases.append(BenchmarkCase(path.name, family, Workload(form, batch, size, host), call))
    return cases
