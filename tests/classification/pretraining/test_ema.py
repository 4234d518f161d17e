"""The moving average of the weights."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain')
from mmpretrain.registry import HOOKS

import casvit_mm.classification  # noqa: F401


class Runner:
    """As much of MMEngine's Runner as the moving average looks at."""

    iter, epoch, max_iters, _resume = 0, 0, 10, False

    def __init__(self, model: nn.Module, every: int) -> None:
        self.model, self.every, self.optim_wrapper = model, every, self

    def should_update(self) -> bool:
        return (self.iter + 1) % self.every == 0


def test_the_average_moves_once_per_step_of_the_optimizer_and_holds_running_statistics():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    hook = HOOKS.build(dict(type='mmpretrain.OptimizerStepEMAHook', momentum=0.25))
    runner = Runner(model, every=2)
    hook.before_run(runner)
    expected = None
    for runner.iter in range(6):
        with torch.no_grad():
            for value in (model[0].weight, model[1].running_mean):
                value += 1
        hook.after_train_iter(runner, runner.iter)
        if runner.iter % 2:
            now = copy.deepcopy([model[0].weight, model[1].running_mean])
            expected = (
                now if expected is None else [0.75 * e + 0.25 * n for e, n in zip(expected, now)]
            )
    averaged = hook.ema_model.module
    torch.testing.assert_close(averaged[0].weight.data, expected[0].data)
    torch.testing.assert_close(averaged[1].running_mean, expected[1])
