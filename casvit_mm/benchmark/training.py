"""One training step of a classifier or backbone, in one form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from casvit_mm.benchmark.forms import as_input, autocast
from casvit_mm.benchmark.model_specs import ModelSpec
from casvit_mm.benchmark.workload import Workload
from casvit_mm.errors import InputError
from casvit_mm.models.wrappers import WholeModel

__all__ = ['training_call']


def training_call(spec: ModelSpec, workload: Workload) -> tuple[nn.Module, Callable[[], object]]:
    """Return a model and a call that does one training step: forward, backward, AdamW.

    The loss of a classifier is cross entropy with random labels, that of a backbone the mean of its
    features. Weights stay in float32; ``amp`` computes in bfloat16.

    Raises:
        InputError: If the model or the form cannot be trained this way.
    """
    form, device = workload.form, workload.host.device
    if form.engine != 'torch' or form.fused or form.precision not in ('fp32', 'amp'):
        raise InputError(
            f'--train: {form.name} is a form for inference; joined by + may be eager, amp, '
            'channels_last, compile, fused_optimizer'
        )
    model = spec.build().train()
    if isinstance(model, WholeModel):
        raise InputError(
            f'--train: {spec.name} needs labelled images; its training is timed by '
            'tools/train.py CONFIG --profile-data. Its backbone: --part backbone'
        )
    model = model.to(device)
    if form.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fused = form.fused_optimizer or None  # None leaves the choice to PyTorch
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=fused)
    x = as_input(workload.images(), form, device)
    labels = torch.randint(0, 1000, (workload.batch,), device=device)
    run = torch.compile(model, dynamic=False) if form.compile else model

    def step() -> None:
        with autocast(form, device):
            out = run(x)
            if isinstance(out, torch.Tensor):
                loss = nn.functional.cross_entropy(out, labels % out.shape[1])
            else:
                loss = torch.stack([feature.float().mean() for feature in out]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return model, step
