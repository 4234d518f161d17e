"""Ends a training whose numbers are no numbers any more, before a checkpoint holds them.

It costs no synchronisation of its own on one GPU: MMEngine brings every loss and the norm of the
gradients to the host in every iteration, for its log, and here they are read from there. Several
processes agree by one all-reduced number per iteration. The weights themselves are looked at before
each validation and each checkpoint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from casvit_mm.cli import job_command
from casvit_mm.distributed.group import unwrapped_model
from casvit_mm.errors import DivergedError, InputError, first_names
from casvit_mm.weights.finite import not_finite

__all__ = ['SKIPPED_STEPS', 'DivergenceHook', 'check_weights', 'divergence_named']

# Skipped updates in a row that end a training with a loss scaler. A scaler begins at 65536 and
# halves at each: after 16 it is at 1, where the gradients are what they are.
SKIPPED_STEPS = 20
# What operators say of scores that are NaN, such as the matching of DETR and its kind.
_NAN_MESSAGE = re.compile(r'invalid numeric entries|\b(?:nan|inf|infinite|non-?finite)\b', re.I)
_CAUSES = """Frequent causes:
- a learning rate too high for this batch size{rate}, or too short a warm-up: lower it,
  --cfg-options optim_wrapper.optimizer.lr=LR
- gradients that nothing limits: --cfg-options "optim_wrapper.clip_grad=dict(max_norm=10)"
- float16, which ends at 65504: --bf16 for --amp, or neither
- wrong boxes, masks or labels: {check}"""


@HOOKS.register_module()
class DivergenceHook(Hook):
    """End a training at a loss that is NaN or infinite, or at gradients that stay so.

    An update by such gradients leaves no weight a number, so that without a loss scaler the first
    one ends the run. With one, the update is skipped, and :data:`SKIPPED_STEPS` in a row end it.
    """

    priority = 'HIGH'  # after the log has the numbers, before an average takes the weights

    def before_train(self, runner: Runner) -> None:
        """Count the updates that loss scalers let through."""
        self._done: dict[str, int] = {}
        self._skipped: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        for name, wrapper in _wrappers(runner).items():
            if hasattr(wrapper, 'loss_scaler'):
                self._done[name] = self._skipped[name] = self._seen[name] = 0
                wrapper.optimizer.register_step_post_hook(self._counter(name))

    def _counter(self, name: str) -> Any:
        def count(*_: Any) -> None:
            self._done[name] += 1

        return count

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look at the losses and gradients of this iteration.

        Raises:
            DivergedError: On every process, if they are no numbers on any.
        """
        found = [*_bad_losses(runner, outputs), *self._bad_gradients(runner)]
        if _any_process(bool(found)):
            raise _diverged(runner, runner.iter + 1, _of_all_processes(found))

    def _bad_gradients(self, runner: Runner) -> Iterator[str]:
        for name, wrapper in _wrappers(runner).items():
            if not wrapper.should_update():
                continue
            norm = _latest(wrapper.message_hub, getattr(wrapper, 'grad_name', 'grad_norm'))
            if name in self._done:
                skipped = self._done[name] == self._seen[name]
                self._seen[name] = self._done[name]
                self._skipped[name] = self._skipped[name] + 1 if skipped else 0
                if self._skipped[name] >= SKIPPED_STEPS:
                    yield f'the gradients{name} of {SKIPPED_STEPS} iterations in a row'
            elif wrapper.clip_grad_kwargs and not math.isfinite(norm):
                yield f'the norm of the gradients{name} ({norm})'

    def before_val_epoch(self, runner: Runner) -> None:
        """Refuse to validate weights that are no numbers.

        Raises:
            DivergedError: As :func:`check_weights`.
        """
        check_weights(runner)


def check_weights(runner: Runner) -> None:
    """Refuse to go on with weights that are no numbers; every process must call this.

    Raises:
        DivergedError: On every process, naming the weights.
    """
    bad = not_finite(_weights(runner))
    if _any_process(bool(bad)):
        bad = _of_all_processes(bad)
        raise _diverged(runner, runner.iter, [f'{len(bad)} weights ({first_names(bad, 3)})'])


@contextmanager
def divergence_named(runner: Runner) -> Iterator[None]:
    """Name the divergence where an operator fails on what is no number before a loss is there.

    Raises:
        DivergedError: For an error inside the block that speaks of NaN, or with weights that are
            no numbers.
    """
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, ValueError) as error:
        try:
            bad = not_finite(_weights(runner))
        except RuntimeError:  # an error on a GPU leaves nothing that can be asked
            bad = []
        if not bad and not _NAN_MESSAGE.search(str(error)):
            raise
        what = [f'{len(bad)} weights ({first_names(bad, 3)})'] if bad else ['the scores']
        raise _diverged(runner, runner.iter + 1, what) from error


def _wrappers(runner: Runner) -> dict[str, Any]:
    """Return the optimizers' wrappers by what a message adds for them, nothing where it is one."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapper):
        return {'': wrapper}
    return {f' of {name}': part for name, part in wrapper.items()}


def _weights(runner: Runner) -> dict[str, Tensor]:
    """Return what training changes; another buffer, such as a mask, may hold -inf."""
    model = unwrapped_model(runner)
    statistics = ('running_mean', 'running_var')
    buffers = {name: b for name, b in model.named_buffers() if name.endswith(statistics)}
    return {**dict(model.named_parameters()), **buffers}


def _latest(hub: MessageHub, name: str) -> float:
    """Return the latest number of the log, which is on the host; 0 where it has none."""
    history = hub.log_scalars.get(f'train/{name}')
    return 0.0 if history is None else float(history.current())


def _bad_losses(runner: Runner, outputs: Mapping[str, Any] | None) -> list[str]:
    hub = runner.message_hub
    values = {name: _latest(hub, name) for name in outputs or () if 'loss' in name}
    return [f'{name} ({value})' for name, value in values.items() if not math.isfinite(value)]


def _any_process(found: bool) -> bool:
    """Return whether it was found on any process; every process must call this."""
    if get_world_size() == 1:
        return found
    flag = torch.tensor(int(found))
    all_reduce(flag, op='max')
    return bool(flag)


def _of_all_processes(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name for part in all_gather_object(names) for name in part))


def _diverged(runner: Runner, iteration: int, what: list[str]) -> DivergedError:
    """Return the error: what is no number, which checkpoints are good, and what to change."""
    hub = runner.message_hub
    kept = [
        f'The {kind} checkpoint is from before and was kept: {hub.get_info(key)}'
        for kind, key in (('last', 'last_ckpt'), ('best', 'best_ckpt'))
        if hub.get_info(key)
    ] or ['There was no checkpoint yet.']
    rates = [rate[0] for key, rate in runner.optim_wrapper.get_lr().items() if key.endswith('lr')]
    rate = f' (it is {rates[0]:g})' if rates else ''
    return DivergedError(
        '\n'.join(
            [
                f'the training has diverged in iteration {iteration}. No finite numbers any more: '
                f'{", ".join(what)}',
                *kept,
                _CAUSES.format(rate=rate, check=job_command('check_data', 'dataset.yaml')),
                'Start anew with that changed, or go on from a checkpoint: --resume CKPT',
            ]
        )
    )
