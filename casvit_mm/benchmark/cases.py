"""The rows of the table: each model in each form, batch size and image size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.inference import inference_call
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.peers import count_norms, fold_norms
from casvit_mm.benchmark.workload import Workload
from casvit_mm.errors import InputError
from casvit_mm.models.complexity import multiply_adds
from casvit_mm.models.memory import lacks_memory

__all__ = ['BenchmarkCase', 'Failure', 'build_cases']


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


@dataclass(frozen=True)
class Failure:
    """A case that could not be run.

    Attributes:
        model: Its name.
        form: How it should have run.
        batch: Images per call; 0 where the host cannot run the form at all.
        reason: First line of the error.
        memory: Whether memory did not suffice.
    """

    model: str
    form: str
    batch: int
    reason: str
    memory: bool

    def __str__(self) -> str:
        batch = f', batch {self.batch}' if self.batch else ''
        return f'{self.model} {self.form}{batch} failed: {self.reason}'

    @classmethod
    def of(cls, model: str, workload: Workload, error: Exception) -> Failure:
        """Return what an error says of a case."""
        reason = _first_line(error)
        return cls(model, workload.form.name, workload.batch, reason, lacks_memory(error))


# inference_call or training_call
BuildCall = Callable[[ModelSpec, Workload], tuple[nn.Module | None, Callable[[], object]]]


def build_cases(
    spec: ModelSpec,
    workloads: Sequence[Workload],
    notes: list[str],
    build_call: BuildCall = inference_call,
    failures: list[Failure] | None = None,
) -> list[BenchmarkCase]:
    """Return the cases of one model, one for each workload.

    Args:
        spec: The model.
        workloads: What it computes.
        notes: Takes what the reader of the table should know.
        build_call: Returns the call that is timed.
        failures: Takes the cases that fail, each of which is called once; None lets an error end
            the run.

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
            if failures is not None:
                call()
                _finish(workload.host.device)
        except Exception as error:
            if failures is not None:
                failures.append(Failure.of(spec.name, workload, error))
            elif isinstance(error, InputError) and (spec.peer or spec.official):
                notes.append(f'{spec.name} {workload.form.name} left out: {error}')
            else:
                raise
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


def _finish(device: str) -> None:
    """Wait for a GPU, whose errors come late."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _describe_peer(spec: ModelSpec, model: nn.Module, fused: bool) -> str:
    left = f'{count_norms(model)} BatchNorms left'
    if fused:
        left += f', {count_norms(fold_norms(model))} where fused'
    return f'{spec.name}: {spec.note}as timm re-parameterises it, {left}'
