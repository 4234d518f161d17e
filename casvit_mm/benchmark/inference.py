"""One call of a model for inference, in one form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from casvit_mm.benchmark.engines import run_exported
from casvit_mm.benchmark.forms import Form, as_input, autocast, compile_model, prepare
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.peers import fold_norms
from casvit_mm.benchmark.workload import Workload
from casvit_mm.cli import job_command
from casvit_mm.errors import InputError
from casvit_mm.models.fusion import fuse
from casvit_mm.models.wrappers import WholeModel

__all__ = ['in_form', 'inference_call', 'record_graph']


def inference_call(
    spec: ModelSpec, workload: Workload
) -> tuple[nn.Module | None, Callable[[], object]]:
    """Return the module that runs, None in an engine, and a call that runs it once.

    Raises:
        InputError: If the model cannot be had in this form.
    """
    form, host, x = workload.form, workload.host, workload.images()
    if form.engine != 'torch':
        return None, run_exported(
            _to_export(spec, form), x, form.engine, host.threads, form.precision, host.device
        )
    model = in_form(spec, form, host.device)
    if isinstance(model, WholeModel) and form.precision in ('bf16', 'fp16'):
        raise InputError(
            f'{spec.name} {form.name}: non-maximum suppression and the like need float32. Use '
            'amp, or time an exported file by --file'
        )
    if isinstance(model, WholeModel) and form.cuda_graph:
        raise InputError(
            f'{spec.name} {form.name}: what a detector computes depends on what it finds, which no '
            'CUDA graph can hold. Time the backbone: --part backbone'
        )
    if form.compile:
        model = compile_model(model)
    x = as_input(x, form, host.device)

    def call() -> object:
        with torch.inference_mode(), autocast(form, host.device):
            return model(x)

    return model, record_graph(call) if form.cuda_graph else call


def record_graph(call: Callable[[], object]) -> Callable[[], object]:
    """Return a call that launches the kernels of ``call`` at once, recorded as a CUDA graph.

    It returns the outputs of the recording, which each launch overwrites. Input and weights are
    those that ``call`` holds.

    Raises:
        InputError: If ``call`` does what a graph cannot hold, such as waiting for a value.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # kernels are chosen and compiled before anything is recorded
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            outputs = call()
    except RuntimeError as error:
        raise InputError(f'this call cannot be recorded as a CUDA graph: {error}') from error

    def launch() -> object:
        graph.replay()
        return outputs

    return launch


def in_form(spec: ModelSpec, form: Form, device: str) -> nn.Module:
    """Return a model in eval mode in a form of PyTorch, not yet compiled.

    Raises:
        InputError: If it has no such form.
    """
    return prepare(_build(spec, form), form, device)


def _to_export(spec: ModelSpec, form: Form) -> nn.Module:
    model = _build(spec, form)
    if isinstance(model, WholeModel):
        raise InputError(
            f'{spec.name} {form.name}: a whole detector or segmentor is exported by '
            f'{job_command("export")}; time the file by --file, or the backbone by --part backbone'
        )
    return model


def _build(spec: ModelSpec, form: Form) -> nn.Module:
    model = spec.build()
    return _fuse(spec, model) if form.fused else model


def _fuse(spec: ModelSpec, model: nn.Module) -> nn.Module:
    if spec.official:
        raise InputError('the published code has no form without norms')
    if spec.peer:
        return fold_norms(model)
    wrapped = getattr(model, 'model', None)
    if wrapped is None:
        return fuse(model)
    model.model = fuse(wrapped)  # the wrapper only says how it is called
    return model
