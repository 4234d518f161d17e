"""MMEngine's training loops, able to go on from the middle of an epoch as if nothing had happened.

Together with :mod:`casvit_mm.engine.checkpoints`: that writes where a run stopped, this returns
there. Both are put into a config by :func:`casvit_mm.engine.resume.make_resumable`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.utils import calc_dynamic_intervals
from torch import nn

from casvit_mm.engine.checkpoints import SafeCheckpointHook, buffers_of_process
from casvit_mm.engine.data_loading import read_batches, take_batch
from casvit_mm.engine.divergence import divergence_named
from casvit_mm.engine.drop_masks import BatchPart
from casvit_mm.engine.interrupt import deferring_signals
from casvit_mm.engine.micro_batches import begin_micro_batches, train_step
from casvit_mm.engine.seeding import SeededBatchSampler, seed_generators
from casvit_mm.errors import InputError

__all__ = ['ResumableEpochLoop', 'ResumableIterLoop']


def _seeded(dataloader: dict, seed: int, endless: bool) -> dict:
    """Return a dataloader's config with batches that carry their seed."""
    dataloader = dict(dataloader)
    dataloader['batch_sampler'] = dict(
        type=SeededBatchSampler,
        seed=seed,
        inner=dataloader.get('batch_sampler'),
        drop_last=dataloader.pop('drop_last', False),
        endless=endless,
    )
    return dataloader


def _restore_buffers(runner: Runner) -> None:
    """Give this process its own buffers back where those of the processes differed."""
    by_rank = runner.message_hub.get_info('rank_buffers') or {}
    if len(by_rank) + 1 == get_world_size():
        buffers = buffers_of_process(runner)
        for name, value in by_rank.get(str(get_rank()), {}).items():
            buffers[name].copy_(value)
    runner.message_hub.update_info('rank_buffers', {})


def _validated(runner: Runner) -> bool:
    """Return whether the state that the run is in was validated before it was interrupted."""
    return runner.message_hub.get_info('iter_validated', runner.iter) == runner.iter


def _next_batch(runner: Runner, batches: Iterator[Any], done: int) -> Any:
    """Return the next batch, None at the end; or stop where ``done`` batches were trained on."""
    batch, failure = take_batch(batches)
    _stop_if_due(runner, done, failure)
    return batch


def _stop_if_due(runner: Runner, done: int, failure: InputError | None = None) -> None:
    hook = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
    if hook is not None:
        hook.stop_if_due(runner, done, failure)
    elif failure is not None:
        raise failure


def _train_on(loop: BaseLoop, index: int, batch: Any, part: BatchPart) -> None:
    """Do an iteration, as MMEngine's loops do it, by micro-batches."""
    runner = loop.runner
    seed_generators(runner.seed, loop._iter)
    with divergence_named(runner):
        runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
        outputs = train_step(runner, batch, part)
        runner.call_hook('after_train_iter', batch_idx=index, data_batch=batch, outputs=outputs)
        loop._iter += 1


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """Training by epochs that goes on from the batch, or the validation, where it stopped.

    Args:
        runner: The Runner.
        dataloader: Config of the training data.
        max_epochs: Epochs to train.
        val_begin: First epoch that is validated.
        val_interval: Epochs from one validation to the next.
        dynamic_intervals: (epoch, interval) pairs that change ``val_interval``.
        micro_batches: Parts that a batch is trained on in, their gradients accumulated.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        micro_batches: int = 1,
    ) -> None:
        dataloader = _seeded(dataloader, runner.seed, endless=False)
        super().__init__(runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals)
        self._batches_done, self.micro_batches = 0, micro_batches

    def run(self) -> nn.Module:
        with deferring_signals():
            self._part = begin_micro_batches(self.runner, self.micro_batches)
            self.runner.call_hook('before_train')
            _restore_buffers(self.runner)
            self._batches_done = self._resumed_batches()
            if self._epoch and not self._batches_done and not _validated(self.runner):
                self._validate_if_due()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._validate_if_due()
            self.runner.call_hook('after_train')
        return self.runner.model

    def _resumed_batches(self) -> int:
        """Return how many batches of the present epoch were trained on before an interruption."""
        hub = self.runner.message_hub
        done = hub.get_info('batches_done', 0)
        hub.update_info('batches_done', 0)
        total, length = self._total_batch(), len(self.dataloader)
        total_before = hub.get_info('total_batch')
        length_before = hub.get_info('epoch_batches', length)
        hub.update_info('total_batch', total)
        hub.update_info('epoch_batches', length)
        if not done or (total_before, length_before) == (total, length):
            return done
        self.runner.logger.warning(
            f'the interrupted run had {total_before} images per iteration and this one has '
            f'{total}, {length_before} and {length} iterations per epoch: the epoch goes on after '
            'about the same images, but the result will not equal that of an unbroken run'
        )
        # By the share of the epoch, since batches may have several sizes.
        return done * length // length_before

    def _total_batch(self) -> int | dict[int, int]:
        """Return the images in a batch of all processes; by image size where batches differ."""
        batches = self.dataloader.batch_sampler
        by_size = getattr(batches.batches, 'batch_sizes', None)
        if by_size is None:
            return batches.batch_size * get_world_size()
        return {size: number * get_world_size() for size, number in by_size.items()}

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done, self._batches_done = self._batches_done, 0
        self.dataloader.batch_sampler.start_at(self._iter, skip=done)
        batches = read_batches(self.dataloader)
        for index in itertools.count(done):
            data_batch = _next_batch(self.runner, batches, index)
            if data_batch is None:
                break
            self.run_iter(index, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        _train_on(self, idx, data_batch, self._part)

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()


@LOOPS.register_module()
class ResumableIterLoop(IterBasedTrainLoop):
    """Training by iterations that goes on from the batch, or the validation, where it stopped.

    Args:
        runner: The Runner.
        dataloader: Config of the training data.
        max_iters: Iterations to train.
        val_begin: First iteration that may be validated.
        val_interval: Iterations from one validation to the next.
        dynamic_intervals: (iteration, interval) pairs that change ``val_interval``.
        micro_batches: Parts that a batch is trained on in, their gradients accumulated.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        micro_batches: int = 1,
    ) -> None:
        # The parent would start reading data at once, before it is known where to begin.
        BaseLoop.__init__(self, runner, _seeded(dataloader, runner.seed, endless=True))
        self._max_iters, self._max_epochs = max_iters, 1
        self._iter = self._epoch = 0
        self.val_begin, self.val_interval = val_begin, val_interval
        self.stop_training = False
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            val_interval, dynamic_intervals
        )
        self.micro_batches = micro_batches
        runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    def run(self) -> nn.Module:
        with deferring_signals():
            self._part = begin_micro_batches(self.runner, self.micro_batches)
            self.runner.call_hook('before_train')
            # The whole training is one epoch to the hooks.
            self.runner.call_hook('before_train_epoch')
            _restore_buffers(self.runner)
            if self._iter and not _validated(self.runner):
                self._validate_if_due()
            self.dataloader.batch_sampler.start_at(self._iter, skip=self._iter)
            batches = read_batches(self.dataloader)
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self.run_iter(_next_batch(self.runner, batches, self._iter))
                self._validate_if_due()
            self.runner.call_hook('after_train_epoch')
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        _train_on(self, self._iter, data_batch, self._part)

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._iter >= self.val_begin and due:
            _stop_if_due(self.runner, self._iter)
            self.runner.val_loop.run()
