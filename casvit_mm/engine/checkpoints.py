"""Checkpoints that survive a kill, a full disk and signals, and hold all that resuming needs."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import (
    all_gather_object,
    barrier,
    gather_object,
    get_world_size,
    is_main_process,
    master_only,
)
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.distributed.group import unwrapped_model
from casvit_mm.engine.divergence import check_weights
from casvit_mm.engine.interrupt import exit_status, highest, signal_received
from casvit_mm.errors import InputError
from casvit_mm.io import replacing

__all__ = ['INTERRUPTED', 'AtomicBackend', 'SafeCheckpointHook', 'buffers_of_process']

INTERRUPTED = 'interrupted.pth'
# What the processes agree on between two iterations, beside the number of a signal, from 1 on.
_GO_ON, _SAVE, _NO_DATA = -1, 0, 1000


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Local files that are written in one step: the old content or the new, never a part."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath``.

        Raises:
            InputError: If it cannot be written, e.g. on a full disk; the old file is left as it is.
        """
        fix = 'Make room, then run the same command with --resume.'
        with replacing(filepath, 'wb', fix) as file:
            file.write(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :meth:`put`."""
        self.put(obj.encode(encoding), filepath)


def buffers_of_process(runner: Runner) -> dict[str, torch.Tensor]:
    """Return this process's buffers of the model and of its moving averages, by name."""
    buffers = dict(unwrapped_model(runner).named_buffers())
    averages = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    for i, average in enumerate(averages):
        buffers.update(average.module.named_buffers(prefix=f'average{i}'))
    return buffers


def _differing_buffers(runner: Runner) -> dict[str, dict[str, torch.Tensor]]:
    """Return, by rank, the buffers of the other processes that differ from those of rank 0.

    Between two averagings each process has running statistics of its own, and a checkpoint holds
    those of rank 0 alone. Every process must call this.
    """
    if get_world_size() == 1:
        return {}
    own = {name: buffer.detach().cpu() for name, buffer in buffers_of_process(runner).items()}
    first, *others = gather_object(own) or [own]
    return {
        str(rank): {name: b for name, b in buffers.items() if not torch.equal(b, first[name])}
        for rank, buffers in enumerate(others, start=1)
    }


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's checkpoints, from which a run goes on exactly, whatever ended it.

    - Files are written in one step, and an older one is removed after the newer one is complete.
    - The checkpoint of an epoch is written before its validation and again after it, so that a run
      that was killed in between knows that it still has to validate.
    - Weights that are NaN or infinite are never written, over a good checkpoint least of all.
    - On SIGTERM, Ctrl-C and SIGHUP the iteration is finished, ``interrupted.pth`` is written and
      the run exits with status 143, 130 or 129. The file goes when the next ordinary checkpoint is
      there. Likewise, with status 2, if a sample cannot be read or a data worker dies.
    - With ``save_minutes`` the same file is written inside an epoch, and the run goes on.

    Args:
        interval: Epochs, or iterations, from one checkpoint to the next.
        save_minutes: Minutes after the last file until ``interrupted.pth`` is written; never if
            None.
        kwargs: What MMEngine's hook takes beside.
    """

    backend_args: dict | None
    best_ckpt_path: str | None
    last_ckpt: str | None

    def __init__(
        self, interval: int = -1, save_minutes: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(interval, **kwargs)
        self.save_minutes = save_minutes
        self._saved_at = time.monotonic()

    def before_train(self, runner: Runner) -> None:
        if self.backend_args is None and '://' not in str(self.out_dir):
            self.backend_args = dict(backend='atomic')
        super().before_train(runner)
        hub = runner.message_hub
        if hub.get_info('iter_validated') is None:
            hub.update_info('iter_validated', runner.iter)
        self._saved_iter = runner.iter
        self._saved_at = time.monotonic()

    def stop_if_due(
        self, runner: Runner, batches_done: int, failure: InputError | None = None
    ) -> None:
        """Save and stop if any process was told to end, or has no data to go on with.

        Save and go on if ``save_minutes`` have passed.

        Every process must call this, between two iterations.

        Args:
            runner: The Runner.
            batches_done: Batches of the epoch that were trained on.
            failure: Why this process has no data.

        Raises:
            SystemExit: With the status that the signal stands for.
            InputError: The failure, in every process.
        """
        stop = highest(_NO_DATA if failure else signal_received() or self._due(runner))
        if stop == _GO_ON:
            return
        # Gradients that wait for the next update are in no checkpoint.
        whole = runner.optim_wrapper.should_update()
        if whole:
            check_weights(runner)
            runner.message_hub.update_info('batches_done', batches_done)
            self._save(runner, INTERRUPTED, dict(epoch=runner.epoch, iter=runner.iter))
            runner.message_hub.update_info('batches_done', 0)  # of no other checkpoint
        if stop == _SAVE:
            if whole:
                runner.logger.info(f'--save-every: saved after iteration {runner.iter}')
            return
        if whole:
            barrier()  # the launcher ends every process as soon as one has ended
        if stop == _NO_DATA:
            failures = all_gather_object(str(failure or ''))
            kept = 'All that was trained is' if whole else 'The last checkpoint is'
            raise InputError(
                f'{next(filter(None, failures))}\n{kept} saved in {self.out_dir}. To go on from '
                'there, mend this and run the same command with --resume'
            )
        if whole:
            self._stop(runner, stop, f'after iteration {runner.iter} of {runner.max_iters}')

    def _due(self, runner: Runner) -> int:
        if self.save_minutes is None or self._saved_iter == runner.iter:
            return _GO_ON
        return _SAVE if time.monotonic() - self._saved_at >= 60 * self.save_minutes else _GO_ON

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop here on a signal if the checkpoint that is being validated is on the disk."""
        if (signum := signal_received()) and self._saved_iter == runner.iter:
            self._stop(runner, signum, 'during validation')

    def _stop(self, runner: Runner, signum: int, where: str) -> None:
        runner.logger.info(
            f'{signal.Signals(signum).name}: stopped {where}; all is saved in {self.out_dir}. To '
            'go on from there, run the same command with --resume'
        )
        raise SystemExit(exit_status(signum))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint, and what this validation has added to the last one."""
        hub = runner.message_hub
        hub.update_info('iter_validated', runner.iter)
        super().after_val_epoch(runner, metrics)
        step = runner.epoch if self.by_epoch else runner.iter
        if Path(hub.get_info('last_ckpt') or '').name == self.filename_tmpl.format(step):
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.save_best is None or len(self.save_best) > 1:
            super()._save_best_checkpoint(runner, metrics)
            return
        # The parent removes the old file before it writes the new one, and then saves the last
        # checkpoint, which is ours to do.
        old, last = self.best_ckpt_path, self.last_ckpt
        self.best_ckpt_path = self.last_ckpt = None
        super()._save_best_checkpoint(runner, metrics)
        self.last_ckpt = last
        if self.best_ckpt_path is None:
            self.best_ckpt_path = old
        elif old is not None and Path(old) != Path(self.best_ckpt_path):
            self._remove(old)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        check_weights(runner)  # before an older checkpoint makes room
        outdated = [INTERRUPTED]
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._save(runner, name, meta)
        for old in outdated:
            self._remove(self.file_backend.join_path(self.out_dir, old))

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        """Write a checkpoint to go on from, then make ``last_checkpoint`` point to it."""
        runner.message_hub.update_info('rank_buffers', _differing_buffers(runner))
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
        )
        self._saved_iter, self._saved_at = meta['iter'], time.monotonic()
        if is_main_process():
            pointer = Path(runner.work_dir, 'last_checkpoint')
            AtomicBackend().put_text(self.file_backend.join_path(self.out_dir, name), pointer)

    @master_only
    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
