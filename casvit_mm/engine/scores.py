"""What a training does about its validation scores: it stops where they no longer rise."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.cli import job_command

__all__ = ['TOP1', 'EarlyStopHook', 'LowScoreHook']

TOP1 = 'accuracy/top1'
_LOW = 0.01
_EARLY = 1000  # steps; trainings from scratch in docs/results/ rose within 300 to 500


@HOOKS.register_module()
class EarlyStopHook(EarlyStoppingHook):
    """MMEngine's early stopping, which a resumed run goes on with as if nothing had happened.

    Args:
        monitor: Name of the score.
        patience: Validations without a better score after which training ends.
        rule: ``'greater'`` or ``'less'``; by the name of the score if None.
    """

    priority = 'LOW'  # before the checkpoint, which holds the state

    def __init__(self, monitor: str, patience: int, rule: str | None = None) -> None:
        # Any rise counts, but not the same number again.
        super().__init__(monitor, rule, min_delta=1e-6, strict=True, patience=patience)

    def before_train(self, runner: Runner) -> None:
        """Take the best score and the patience that is left from a resumed run."""
        state = runner.message_hub.get_info('early_stop') or {}
        if state.get('monitor') == self.monitor:
            self.best_score, self.wait_count = state['best'], state['waited']
        if self.wait_count >= self.patience:
            runner.logger.info(
                f'--early-stop: this run had {self.wait_count} validations without a better '
                f'{self.monitor} than {self.best_score:.3f}: nothing is trained'
            )
            runner.train_loop.stop_training = True

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Count validations without a better score, and keep the count for a resumed run."""
        super().after_val_epoch(runner, metrics)
        if runner.train_loop.stop_training:
            runner.logger.info(
                f'--early-stop: {self.wait_count} validations without a better {self.monitor} than '
                f'{self.best_score:.3f}: training ends'
            )
        state = dict(monitor=self.monitor, best=self.best_score, waited=self.wait_count)
        runner.message_hub.update_info('early_stop', state)


@HOOKS.register_module()
class LowScoreHook(Hook):
    """Say what a score near 0 means: early in a training nothing, later that something is wrong.

    Of a classifier that is a score below that of a guess.

    Args:
        monitor: Name of the score.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Log one line where the score is near 0."""
        score = (metrics or {}).get(self.monitor)
        low, guess = _LOW, ''
        if self.monitor == TOP1:
            classes = len(runner.val_dataloader.dataset.metainfo['classes'])
            low, guess = 1 / classes, f', less than a guess among {classes} classes has,'
        if score is None or not score < low:
            return
        steps = f'{self.monitor} is {score:.3f}{guess} after {runner.iter} iterations'
        if runner.iter < _EARLY:
            runner.logger.info(
                f'{steps}: that is early, and no error. A training from scratch needs some hundred '
                f'iterations before it finds anything; look again after {_EARLY}'
            )
        else:
            runner.logger.warning(
                f'{steps}: something is wrong. See whether labels arrive as they should '
                f'({job_command("browse_data", "CONFIG", "--data", "YAML")}), whether the crop is '
                f'large enough ({job_command("check_data", "YAML", "--config", "CONFIG")}), and '
                'whether the loss falls'
            )
