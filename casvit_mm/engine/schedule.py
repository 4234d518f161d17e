"""The learning rate and its schedule, fitted to the batch size, the length and the dataset."""

from __future__ import annotations

import math

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size
from mmengine.registry import DATASETS

from casvit_mm.config.forms import entries, type_name
from casvit_mm.engine.options import TrainOptions
from casvit_mm.errors import InputError

__all__ = ['scale_learning_rate', 'scales_with_batch', 'shorten_warm_up', 'stretch_schedule']


def stretch_schedule(cfg: Config, options: TrainOptions) -> list[str]:
    """Stretch a schedule to the length of the run, which an option may have changed, in place.

    Otherwise the rate of a longer run would stay at its end, and that of a shorter one would hardly
    fall. A shorter run is also validated and saved more often, as often as before in all. Fewer
    epochs by ``--cfg-options`` take the beginning of the schedule. One whose end is not given has
    no length to compare, and stays.

    Returns:
        What the log should say.
    """
    by_epoch = 'max_iters' not in cfg.train_cfg
    unit = 'epochs' if by_epoch else 'iterations'
    schedulers = [
        s for s in entries(cfg, 'param_scheduler') if bool(s.get('by_epoch', True)) == by_epoch
    ]
    ends = [s.get('end') for s in schedulers]
    total = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
    if not ends or None in ends or total is None:
        return []
    planned = max(ends)
    if total == planned:
        return []
    if by_epoch and total < planned and options.recipe.epochs is None:
        return [
            f'learning rate: the first {total} of the {planned} epochs of its schedule; to have it '
            f'whole in {total} epochs: --epochs {total}'
        ]
    for scheduler in schedulers:
        _stretch(scheduler, total / planned)
    _stretch_phases(cfg, total / planned)
    notes = [f'learning rate: the schedule of {planned} {unit} is rescaled to {total}']
    if total < planned:
        notes += _shorten_intervals(cfg, options, total / planned)
    return notes


def _shorten_intervals(cfg: Config, options: TrainOptions, factor: float) -> list[str]:
    """Let a shorter run be validated and saved as often as the longer one would have been."""
    notes = []
    places = [('train_cfg.val_interval', cfg.train_cfg, 'val_interval')]
    checkpoint = cfg.default_hooks.get('checkpoint')
    by_epoch = 'max_iters' not in cfg.train_cfg
    if checkpoint and bool(checkpoint.get('by_epoch', True)) == by_epoch:
        places.append(('default_hooks.checkpoint.interval', checkpoint, 'interval'))
    for name, node, key in places:
        old = node.get(key)
        if not old or old < 0 or name in (options.cfg_options or {}):
            continue
        node[key] = max(1, round(old * factor))
        if node[key] != old:
            notes.append(f'{name} {old} -> {node[key]}, for the shorter run')
    return notes


def _stretch(scheduler: ConfigDict, factor: float) -> None:
    """Multiply every length in the config of a scheduler."""
    length = scheduler.end - scheduler.get('begin', 0)
    for key in ('begin', 'end'):
        if scheduler.get(key):
            # A ramp of one step would stay at its start for good.
            scheduler[key] = max(2, round(scheduler[key] * factor))
    # A run of very few iterations ends within the warm-up; MMEngine refuses what is empty.
    scheduler.end = max(scheduler.end, scheduler.get('begin', 0) + 1)
    for key in ('T_max', 'total_iters', 'total_steps', 'step_size'):
        if scheduler.get(key) == length:
            scheduler[key] = scheduler.end - scheduler.get('begin', 0)
        elif scheduler.get(key):
            scheduler[key] = max(1, round(scheduler[key] * factor))
    for key in ('milestones', 'periods'):
        if scheduler.get(key):
            scheduler[key] = [max(1, round(step * factor)) for step in scheduler[key]]


def _stretch_phases(cfg: Config, factor: float) -> None:
    """Let what ends mosaic, and what validates more often from then on, do so later as well."""
    for hook in entries(cfg, 'custom_hooks'):
        if type_name(hook) == 'PipelineSwitchHook':
            hook.switch_epoch = round(hook.switch_epoch * factor)
    intervals = cfg.train_cfg.get('dynamic_intervals')
    if intervals:
        cfg.train_cfg.dynamic_intervals = [(round(at * factor), every) for at, every in intervals]


def shorten_warm_up(cfg: Config, num_images: int) -> list[str]:
    """Shorten warm-up and log interval where a small dataset gives few iterations.

    Args:
        cfg: The config, changed in place; left as it is if it trains by iterations.
        num_images: Images in the dataset under its wrappers.

    Returns:
        What the log should say.
    """
    if 'max_epochs' not in cfg.train_cfg:
        return []
    notes = []
    num_images = _with_repeats(cfg, num_images)
    per_epoch = math.ceil(num_images / (cfg.train_dataloader.batch_size * get_world_size()))
    total = per_epoch * cfg.train_cfg.max_epochs
    for scheduler in entries(cfg, 'param_scheduler'):
        if not scheduler.get('by_epoch', True) and scheduler.get('begin', 0) == 0:
            # A ramp of one step would stay at its start for good.
            limit = max(2, total // 10)
            if scheduler.get('end', 0) > limit:
                notes.append(
                    f'warm-up shortened from {scheduler.end} to {limit} iterations, a tenth of the '
                    f'{total} that this data set has'
                )
                scheduler.end = limit
    logger = cfg.default_hooks.get('logger')
    if logger is not None:
        logger.interval = min(logger.get('interval', 10), max(1, per_epoch // 2))
    return notes


def _with_repeats(cfg: Config, num_images: int) -> int:
    """Return the images of an epoch of the train dataloader, whose wrappers may repeat some."""
    node, times = cfg.train_dataloader.dataset, 1
    while 'dataset' in node:
        wrapper = type_name(node)
        if wrapper == 'RepeatDataset':
            times *= node.times
        elif wrapper != 'MultiImageMixDataset':  # such as ClassBalancedDataset: by what is in it
            with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as datasets:
                return len(datasets.build(cfg.train_dataloader.dataset))
        node = node.dataset
    return times * num_images


def scales_with_batch(cfg: Config, options: TrainOptions) -> bool:
    """Return whether the learning rate is to follow the images per step of the optimizer."""
    enabled = (cfg.get('auto_scale_lr') or {}).get('enable', False)
    asked = options.auto_scale_lr or enabled or options.recipe.batch is not None
    return bool(asked) and options.recipe.lr is None


def scale_learning_rate(cfg: Config, options: TrainOptions) -> list[str]:
    """Scale a config's learning rate linearly with the images per step of the optimizer, in place.

    Unlike MMEngine's own scaling, it counts the batches that are accumulated. The processes must
    have been started.

    Args:
        cfg: The config; ``auto_scale_lr`` has the ``base_batch_size`` of its rate, and ``enable``.
        options: ``auto_scale_lr`` and ``cfg_options`` are read.

    Returns:
        What the log should say.

    Raises:
        InputError: If the config names no ``base_batch_size``; or if the rate was given by option,
            so that it may be meant for the actual batch size already.
    """
    scaling, recipe = cfg.get('auto_scale_lr') or ConfigDict(), options.recipe
    if not scales_with_batch(cfg, options):
        scaling.enable = False
        return []
    base = scaling.get('base_batch_size')
    if base is None:
        raise InputError(
            f'{"--auto-scale-lr" if recipe.batch is None else "--batch"}: {cfg.filename} has no '
            'auto_scale_lr.base_batch_size, so the rate for another batch is unknown: --lr X'
        )
    scaling.enable = False  # MMEngine would scale once more
    images = cfg.train_dataloader.batch_size
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    total = get_world_size() * images * steps
    if total == base:
        return []
    optimizer = cfg.optim_wrapper.optimizer
    given = options.cfg_options or {}
    if 'optim_wrapper.optimizer.lr' in given and 'auto_scale_lr.base_batch_size' not in given:
        raise InputError(
            f'optim_wrapper.optimizer.lr={optimizer.lr} was given, but the recipe of '
            f'{cfg.filename} is for {base} images per step, and this run has {total}: is the rate '
            f'meant for {total} or for {base}? Add auto_scale_lr.base_batch_size={total} to take '
            f'it as it is, or auto_scale_lr.base_batch_size={base} to have it scaled to '
            f'{optimizer.lr * total / base:g}.'
        )
    old = optimizer.lr
    optimizer.lr = old * total / base
    return [
        f'learning rate {old:g} -> {optimizer.lr:g}: {total} images per step of the optimizer '
        f'({get_world_size()} process(es) x {images} images x {steps} batch(es)) instead of {base}'
    ]
