"""The learning rate in step with the total batch size."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size

from casvit_mm.errors import InputError

__all__ = ['scale_learning_rate']


def scale_learning_rate(
    cfg: Config, asked: bool, options: dict[str, Any] | None, notes: list[str]
) -> None:
    """Scale a config's learning rate linearly with the images per step of the optimizer, in place.

    Counts what MMEngine's own scaling leaves out: batches that are accumulated.

    Args:
        cfg: The config; ``auto_scale_lr`` has the ``base_batch_size`` of its rate, and ``enable``.
        asked: Whether ``--auto-scale-lr`` was given.
        options: What ``--cfg-options`` has set.
        notes: Takes what the log should say.

    Raises:
        InputError: If the config does not say what its rate belongs to; or if a rate given by
            option would be scaled though it may be meant for this batch.
    """
    scaling = cfg.get('auto_scale_lr') or ConfigDict()
    if not (asked or scaling.get('enable')):
        return
    base = scaling.get('base_batch_size')
    if base is None:
        raise InputError(f'--auto-scale-lr: {cfg.filename} has no auto_scale_lr.base_batch_size')
    scaling.enable = False  # MMEngine would scale once more
    images = cfg.train_dataloader.batch_size
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    total = get_world_size() * images * steps
    if total == base:
        return
    optimizer = cfg.optim_wrapper.optimizer
    # An option may name a rate for the batch at hand, or for the recipe's.
    if 'optim_wrapper.optimizer.lr' in (options or {}) and (
        'auto_scale_lr.base_batch_size' not in (options or {})
    ):
        raise InputError(
            f'optim_wrapper.optimizer.lr={optimizer.lr} was given, but the recipe of '
            f'{cfg.filename} is for {base} images per step, and this run has {total}: is the rate '
            f'meant for {total} or for {base}? Add auto_scale_lr.base_batch_size={total} to take '
            f'it as it is, or auto_scale_lr.base_batch_size={base} to have it scaled to '
            f'{optimizer.lr * total / base:g}.'
        )
    old = optimizer.lr
    optimizer.lr = old * total / base
    notes.append(
        f'learning rate {old:g} -> {optimizer.lr:g}: {total} images per step of the optimizer '
        f'({get_world_size()} process(es) x {images} images x {steps} batch(es)) instead of {base}'
    )
