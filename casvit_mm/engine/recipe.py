"""What the command line changes of a recipe: its length, batch, rate and patience."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from casvit_mm.config.forms import entries, type_name
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.scores import TOP1
from casvit_mm.errors import InputError

__all__ = ['set_recipe']


def set_recipe(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--epochs``, ``--iters``, ``--batch N``, ``--lr`` and ``--early-stop`` into a config.

    In place. What follows from them, such as the schedule, is set by
    :mod:`casvit_mm.engine.schedule`; ``--batch auto`` by :mod:`casvit_mm.engine.batch_size`.

    Returns:
        What the log should say.

    Raises:
        InputError: If the config counts its length otherwise, an entry is also given by
            ``--cfg-options``, or no score is named that early stopping could follow.
    """
    recipe = options.recipe
    _set_length(cfg, options)
    if recipe.batch is not None and recipe.batch != 'auto':
        _set(cfg, options, '--batch', 'train_dataloader.batch_size', recipe.batch)
    if recipe.lr is not None:
        if options.auto_scale_lr:
            raise InputError('--lr is taken as it is: leave --auto-scale-lr out, or --lr')
        _set(cfg, options, '--lr', 'optim_wrapper.optimizer.lr', recipe.lr)
    return _follow_scores(cfg, recipe.early_stop)


def _set_length(cfg: Config, options: TrainOptions) -> None:
    recipe = options.recipe
    by_epoch = 'max_iters' not in cfg.train_cfg
    for option, length, key, fits, right in (
        ('--epochs', recipe.epochs, 'max_epochs', by_epoch, '--iters'),
        ('--iters', recipe.iterations, 'max_iters', not by_epoch, '--epochs'),
    ):
        if length is None:
            continue
        if not fits:
            unit = 'epochs' if by_epoch else 'iterations'
            has = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
            raise InputError(
                f'{option} {length}: {cfg.filename} counts {unit}, and has {has}. Give {right} N'
            )
        _set(cfg, options, option, f'train_cfg.{key}', length)


def _set(cfg: Config, options: TrainOptions, option: str, key: str, value: Any) -> None:
    if key in (options.cfg_options or {}):
        raise InputError(f'{option} and --cfg-options {key} are the same: give one of them')
    cfg.merge_from_dict({key: value})


def _follow_scores(cfg: Config, patience: int | None) -> list[str]:
    """Add the hooks that follow the score by which the best checkpoint is chosen."""
    checkpoint = cfg.default_hooks.get('checkpoint') or {}
    score = checkpoint.get('save_best') if cfg.get('val_cfg') is not None else None
    if isinstance(score, str) and ('mAP' in score or score == TOP1):
        _replace_hook(cfg, dict(type='LowScoreHook', monitor=score))
    if patience is None:
        return []
    if not isinstance(score, str) or score == 'auto':
        raise InputError(
            f'--early-stop {patience}: {cfg.filename} names no score of a validation. Name one, '
            'such as coco/bbox_mAP: --cfg-options default_hooks.checkpoint.save_best=SCORE'
        )
    hook = dict(type='EarlyStopHook', monitor=score, patience=patience)
    if checkpoint.get('rule'):
        hook['rule'] = checkpoint['rule']
    _replace_hook(cfg, hook)
    return [f'training ends after {patience} validations without a better {score}']


def _replace_hook(cfg: Config, hook: dict[str, Any]) -> None:
    """Add a hook, in the place of one of its type that a copied config may have."""
    others = [one for one in entries(cfg, 'custom_hooks') if type_name(one) != hook['type']]
    cfg.custom_hooks = [*others, hook]
