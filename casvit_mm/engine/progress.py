"""How a run goes, on the console: a status line, and a line for each epoch and each validation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from casvit_mm.console import StatusLine, duration, say, speed
from casvit_mm.errors import plain_name
from casvit_mm.plotting.tables import format_metric

__all__ = ['headline', 'showing_progress']

# What a line has room for, by the names of the metrics of all tasks.
_SHORT = {
    'coco/bbox_mAP': 'box AP',
    'coco/bbox_mAP_50': 'AP50',
    'coco/segm_mAP': 'mask AP',
    'coco/segm_mAP_50': 'mask AP50',
    'mIoU': 'mIoU',
    'mAcc': 'mAcc',
    'aAcc': 'aAcc',
    'accuracy/top1': 'top-1',
    'accuracy/top5': 'top-5',
}
_RECENT = 50  # iterations that the loss of the status line is a mean of


@contextmanager
def showing_progress(runner: Runner) -> Iterator[None]:
    """Show on the console how the training or evaluation inside the block goes."""
    with StatusLine('preparing the first batch') as line:
        runner.register_hook(ProgressHook(line))
        yield


def headline(metrics: Mapping[str, Any], best: Any = None) -> str:
    """Return the few metrics that one line has room for.

    Args:
        metrics: What a validation returned.
        best: Best score of the run, if it is a new one; marked where one of them is it.
    """
    shown = {name: metrics[name] for name in _SHORT if name in metrics}
    if not shown:  # of a metric that is not ours
        numbers = {k: v for k, v in metrics.items() if isinstance(v, (int, float))}
        shown = dict(list(numbers.items())[:4])
    parts = []
    for name, value in shown.items():
        mark = ' (best)' if best is not None and value == best else ''
        parts.append(f'{_SHORT.get(name) or plain_name(name, 30)} {format_metric(value)}{mark}')
        best = None if mark else best
    return '  '.join(parts)


class ProgressHook(Hook):
    """Tells the console how a run goes.

    Args:
        line: The status line.
    """

    priority = 'LOWEST'  # after the checkpoint hook, which knows what is best

    def __init__(self, line: StatusLine) -> None:
        self._line = line
        self._score, self._best = '', None  # of the last validation, and of all
        self._images = self._iters = 0  # since the last line of training
        self._training = self._since = 0.0  # seconds since then, and when this iteration began
        self._validation = 0.0  # seconds of the last one
        self._seen = 0  # images of this one
        self._done = self._spent = 0.0  # iterations of this process, and their seconds

    def before_train(self, runner: Runner) -> None:
        """Say what is ahead, and where a resumed run goes on."""
        self._best = runner.message_hub.get_info('best_score')
        loop = runner.train_loop
        if loop.stop_training:
            return
        iters = f'{runner.max_iters} iterations'
        if _by_epoch(runner):
            plural = 's' * (runner.max_epochs != 1)
            iters = f'{runner.max_epochs} epoch{plural} of {len(loop.dataloader)} iterations'
        if runner.iter:
            say(f'goes on at iteration {runner.iter + 1} of {runner.max_iters}{_in_epoch(runner)}')
        log = str(runner.log_dir).removeprefix(f'{Path.cwd()}/')
        say(f'training: {iters}; the whole log: {log}')
        self._since = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Show the first iteration, which may take long."""
        if not self._done:
            self._line.show(_place(runner) if _by_epoch(runner) else 'iter', 'the first batch')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far the epoch, or the training by iterations, is."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self._iters += 1
        self._images += len(data_batch['inputs']) * runner.world_size
        self._training += seconds
        if self._done:  # the first one opens files and chooses operators
            self._spent += seconds
        self._done += 1
        head, done, total = 'iter', runner.iter + 1, runner.max_iters
        if _by_epoch(runner):
            head, done, total = _place(runner), batch_idx + 1, len(runner.train_dataloader)
        tail = [f'{done}/{total}', *self._numbers(runner, _RECENT), self._score, self._left(runner)]
        self._line.show(head, '  '.join(filter(None, tail)), done / total)

    def _numbers(self, runner: Runner, iterations: int) -> list[str]:
        """Return loss and speed."""
        history = runner.message_hub.log_scalars.get('train/loss')
        shown = []
        if history is not None:
            shown.append(f'loss {history.mean(min(iterations, self._iters)):.3f}')
        return [*shown, speed(self._images, self._training)]

    def _left(self, runner: Runner) -> str:
        """Return the time left, of training and of validations as long as the last one."""
        iters = runner.max_iters - runner.iter - 1
        if self._done < 2 or not iters:
            return ''
        seconds = iters * self._spent / (self._done - 1)
        loop = runner.train_loop
        if runner.val_loop is not None:
            ahead = runner.max_epochs - runner.epoch if _by_epoch(runner) else iters
            seconds += math.ceil(ahead / loop.val_interval) * self._validation
        return f'{duration(seconds)} left'

    def after_train_epoch(self, runner: Runner) -> None:
        """Say how the epoch was; a training by iterations is one epoch to MMEngine."""
        self._say_training(runner)

    def _say_training(self, runner: Runner) -> None:
        if self._iters:
            numbers = [_place(runner), *self._numbers(runner, self._iters)]
            say('  '.join([*numbers, duration(self._training)]))
        self._images = self._iters = 0
        self._training = 0.0

    def before_val_epoch(self, runner: Runner) -> None:
        """Say what was trained since the last validation."""
        if not _by_epoch(runner):
            self._say_training(runner)
        self._begin(f'{_place(runner, done=True)}  validating')

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far the validation is."""
        head = f'{_place(runner, done=True)}  validating'
        self._show(head, batch_idx, runner.val_loop.dataloader, data_batch)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Say the score."""
        self._validation = time.perf_counter() - self._since
        best = runner.message_hub.get_info('best_score')
        found = headline(metrics or {}, None if best == self._best else best)
        self._best = best
        if found:
            say(f'{_place(runner, done=True)}  {found}  {duration(self._validation)}')
            self._score = found.partition('  ')[0].removesuffix(' (best)')
        self._line.show(_place(runner, done=True), 'validated')
        self._since = time.perf_counter()

    def before_test_epoch(self, runner: Runner) -> None:
        """Show that the evaluation begins."""
        self._begin('evaluating')

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far the evaluation is."""
        self._show('evaluating', batch_idx, runner.test_loop.dataloader, data_batch)

    def _begin(self, head: str) -> None:
        self._since, self._seen = time.perf_counter(), 0
        self._line.show(head)

    def _show(self, head: str, batch_idx: int, loader: Any, batch: Any) -> None:
        self._seen += len(batch['inputs'])
        if batch_idx + 1 == len(loader):
            self._line.show(f'{head}: computing the metrics')
        else:
            seconds = time.perf_counter() - self._since
            self._line.count(head, batch_idx + 1, len(loader), seconds, self._seen)


def _by_epoch(runner: Runner) -> bool:
    return not isinstance(runner.train_loop, IterBasedTrainLoop)


def _in_epoch(runner: Runner) -> str:
    return f', in epoch {runner.epoch + 1} of {runner.max_epochs}' if _by_epoch(runner) else ''


def _place(runner: Runner, done: bool = False) -> str:
    """Return where the training is; in a validation, what of it is done."""
    if _by_epoch(runner):
        number, total, unit = runner.epoch + (not done), runner.max_epochs, 'epoch'
        return f'{unit} {number:{len(str(total))}d}/{total}'
    return f'iter {runner.iter}/{runner.max_iters}'
