"""One training step of a model, in one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from casvit_mm.benchmark.forms import as_input, autocast, compile_model
from casvit_mm.benchmark.made_up_labels import made_up_labels
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.workload import Workload
from casvit_mm.errors import InputError
from casvit_mm.models.wrappers import WholeModel

__all__ = ['training_call']


def training_call(spec: ModelSpec, workload: Workload) -> tuple[nn.Module, Callable[[], object]]:
    """Return a model and a call that does one training step: forward, backward, AdamW.

    The loss of a classifier is cross entropy with random labels, that of a backbone the mean of its
    features, that of a detector or segmentor its own, with random objects or masks. Weights stay in
    float32; ``amp`` computes in half precision, without a loss scale.

    Raises:
        InputError: If the form cannot be trained in.
    """
    form, device = workload.form, workload.host.device
    inference = form.fused or form.cuda_graph or form.precision not in ('fp32', 'amp')
    if form.engine != 'torch' or inference:
        raise InputError(
            f'--train: {form.name} is a form for inference; joined by + may be eager, amp, '
            'channels_last, compile, fused_optimizer'
        )
    model = spec.build().train().to(device)
    if form.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fused = form.fused_optimizer or None  # None leaves the choice to PyTorch
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=fused)
    x = as_input(workload.images(), form, device)
    if isinstance(model, WholeModel):
        loss = _whole_loss(model, x, form.compile)
    else:
        loss = _plain_loss(model, x, form.compile)

    def step() -> None:
        with autocast(form, device):
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return model, step


def _plain_loss(model: nn.Module, x: Tensor, compiled: bool) -> Callable[[], Tensor]:
    """Return a call that computes the loss of a classifier or backbone."""
    labels = torch.randint(0, 1000, (len(x),), device=x.device)
    run = compile_model(model) if compiled else model

    def loss() -> Tensor:
        out = run(x)
        if isinstance(out, Tensor):
            return nn.functional.cross_entropy(out, labels % out.shape[1])
        return torch.stack([feature.float().mean() for feature in out]).sum()

    return loss


def _whole_loss(model: WholeModel, x: Tensor, compiled: bool) -> Callable[[], Tensor]:
    """Return a call that computes the loss of a detector or segmentor."""
    whole = cast(Any, model.model)
    samples = made_up_labels(whole, model.samples(x), x)
    if compiled:
        compile_model(model)
    return lambda: whole.parse_losses(whole(x, samples, mode='loss'))[0]
