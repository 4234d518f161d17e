"""The moving average of the weights, as the published training keeps it."""

from __future__ import annotations

from typing import Any

from mmengine.runner import Runner
from mmpretrain.engine.hooks import EMAHook
from mmpretrain.registry import HOOKS

__all__ = ['OptimizerStepEMAHook']


@HOOKS.register_module()
class OptimizerStepEMAHook(EMAHook):
    """Average weights and running statistics once per step of the optimizer.

    MMEngine's hook averages after every iteration, and so twice per step where gradients of two
    batches are added up. The average is validated first, and decides which checkpoint is the best;
    then the weights as they are, whose metrics end in ``_origin``.

    Args:
        momentum: Share of the new weights; 1 minus the decay that timm names.
        evaluate_on_origin: Whether the weights as they are are validated as well.
    """

    def __init__(self, momentum: float = 0.0005, evaluate_on_origin: bool = True) -> None:
        super().__init__(
            momentum=momentum,
            update_buffers=True,
            evaluate_on_origin=evaluate_on_origin,
            strict_load=True,
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Average if the weights have changed."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
