"""Hooks that every run of ours has."""

from __future__ import annotations

import resource
import sys
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.distributed.group import unwrapped_model
from casvit_mm.weights.matching import check_fit

__all__ = ['AverageBuffersHook', 'HostStatsHook', 'PlainCheckpointHook']

_PLAIN = (str, int, float, bool, type(None), torch.Tensor)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN) and not isinstance(value, np.generic)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Checkpoints that hold numbers and names only, and that fit the model or are refused.

    MMEngine stores the history of the log as objects which only code execution can rebuild, and
    ignores keys that do not fit. Here the history is stored as lists, so that
    ``torch.load(weights_only=True)`` reads the file, and a misfit ends the run.
    """

    priority = 'ABOVE_NORMAL'  # weights are in the model's form before a moving average takes them

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace history objects by lists and leave out what is no plain value."""
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: {
                'values': buffer.data[0].tolist(),
                'counts': buffer.data[1].tolist(),
                'max_length': buffer.max_length,
            }
            for name, buffer in hub['log_scalars'].items()
        }
        info = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub['runtime_info'].items()
        }
        hub['runtime_info'] = {name: value for name, value in info.items() if _is_plain(value)}
        hub['resumed_keys'] = dict(hub['resumed_keys'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse weights that do not fit and rebuild the history objects.

        Raises:
            InputError: If a key is missing, unexpected or of another shape.
        """
        model = unwrapped_model(runner)
        checkpoint['state_dict'] = check_fit(
            model,
            checkpoint['state_dict'],
            runner._load_from or 'the last checkpoint',
            checkpoint.get('official_names'),
        )
        # MMEngine would execute this text as Python to compare GPU ids of old versions.
        checkpoint.get('meta', {}).pop('config', None)
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, history in scalars.items():
            if isinstance(history, dict):
                scalars[name] = HistoryBuffer(
                    history['values'], history['counts'], history['max_length']
                )


@HOOKS.register_module()
class AverageBuffersHook(Hook):
    """Average the running statistics over the processes, before they are validated or saved.

    In double precision, where the mean of equal numbers is that number. MMEngine's SyncBuffersHook
    moves equal buffers, among them the pixel means, by a rounding error with three processes.
    """

    def after_train_epoch(self, runner: Runner) -> None:
        buffers = [buffer for buffer in runner.model.buffers() if buffer.is_floating_point()]
        if not buffers:
            return
        values = torch.cat([buffer.double().flatten() for buffer in buffers])
        all_reduce(values, op='mean')
        sizes = [buffer.numel() for buffer in buffers]
        for buffer, mean in zip(buffers, values.split(sizes), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def before_val_epoch(self, runner: Runner) -> None:
        """Average here as well, for training by iterations."""
        self.after_train_epoch(runner)


@HOOKS.register_module()
class HostStatsHook(Hook):
    """Log images per second of all processes together, and the peak memory of this one in MB."""

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add both numbers to the log."""
        hub = runner.message_hub
        seconds = hub.get_scalar('train/time').current()
        images = len(data_batch['inputs']) * runner.world_size
        hub.update_scalar('train/img_per_s', images / max(seconds, 1e-9))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        hub.update_scalar(
            'train/host_memory_mb', peak / (2**20 if sys.platform == 'darwin' else 2**10)
        )
