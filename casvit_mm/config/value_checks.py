"""Numbers and groups of a config that training and evaluation compute with, checked before both."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch.multiprocessing
from mmengine.config import Config

from casvit_mm.errors import InputError

__all__ = ['MAX_SEED', 'check_groups', 'check_values']

MAX_SEED = 2**32 - 1  # NumPy's limit
_Rule = tuple[Callable[[Any], bool], str]


def _whole(minimum: int, maximum: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
    )


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _or_none(rule: _Rule) -> _Rule:
    accepts, words = rule
    return lambda value: value is None or accepts(value), f'{words}, or None'


_GROUP: _Rule = (lambda value: isinstance(value, dict), 'a dictionary')
_LIST: _Rule = (
    lambda value: isinstance(value, (list, tuple)) and all(isinstance(v, dict) for v in value),
    'a list of dictionaries',
)
_ONE_OR_LIST: _Rule = (
    lambda value: _GROUP[0](value) or _LIST[0](value),
    'a dictionary or a list of them',
)
_COUNT: _Rule = (_whole(1), 'a whole number from 1')
_COUNT_OR_0: _Rule = (_whole(0), 'a whole number from 0')
_INTERVAL: _Rule = (
    lambda value: value == -1 or _whole(1)(value),
    'a whole number from 1, or -1 for never',
)
_POSITIVE: _Rule = (lambda value: _is_number(value) and value > 0, 'a number above 0')
_NUMBER_FROM_0: _Rule = (lambda value: _is_number(value) and value >= 0, 'a number from 0')
_BOOLEAN: _Rule = (lambda value: isinstance(value, bool), 'True or False')
_LEVELS = [name for name in logging._nameToLevel if name != 'NOTSET']
_START_METHODS = torch.multiprocessing.get_all_start_methods()

_RULES: dict[str, _Rule] = {
    'model': _GROUP,
    'model.backbone': _GROUP,
    'model.data_preprocessor.pad_size_divisor': _COUNT,
    '*_dataloader': _or_none(_GROUP),
    '*_dataloader.batch_size': _COUNT,
    '*_dataloader.num_workers': _COUNT_OR_0,
    '*_dataloader.dataset': _GROUP,
    '*_dataloader.dataset.pipeline': (
        lambda value: bool(value) and _LIST[0](value),
        'a list of dictionaries, at least one',
    ),
    'train_cfg': _or_none(_GROUP),
    'val_cfg': _or_none(_GROUP),
    'test_cfg': _or_none(_GROUP),
    'train_cfg.max_epochs': _COUNT,
    'train_cfg.max_iters': _COUNT,
    'train_cfg.micro_batches': _COUNT,
    'train_cfg.val_interval': (lambda value: _is_number(value) and value >= 1, 'a number from 1'),
    'train_cfg.val_begin': _COUNT_OR_0,
    'optim_wrapper': _or_none(_GROUP),
    'optim_wrapper.accumulative_counts': _COUNT,
    'optim_wrapper.clip_grad': _or_none(_GROUP),
    'optim_wrapper.clip_grad.max_norm': _POSITIVE,
    'optim_wrapper.optimizer': _GROUP,
    'optim_wrapper.optimizer.lr': _POSITIVE,
    'optim_wrapper.optimizer.weight_decay': _NUMBER_FROM_0,
    'optim_wrapper.paramwise_cfg.custom_keys.*.*': (_is_number, 'a number'),
    'param_scheduler.*.begin': _COUNT_OR_0,
    'param_scheduler.*.end': _COUNT,
    'param_scheduler.*.T_max': _or_none(_COUNT),
    'param_scheduler.*.start_factor': _POSITIVE,
    'default_hooks': _GROUP,
    'default_hooks.*': _or_none(_GROUP),
    'default_hooks.checkpoint.interval': _INTERVAL,
    'default_hooks.checkpoint.max_keep_ckpts': _INTERVAL,
    'default_hooks.logger.interval': _COUNT,
    'custom_hooks': _or_none(_ONE_OR_LIST),
    'param_scheduler': _or_none(_ONE_OR_LIST),
    'visualizer': _or_none(_GROUP),
    'auto_scale_lr': _or_none(_GROUP),
    'auto_scale_lr.base_batch_size': _COUNT,
    'randomness.seed': _or_none((_whole(0, MAX_SEED), f'a whole number from 0 to {MAX_SEED}')),
    'load_from': _or_none((lambda value: isinstance(value, str), 'a path')),
    'resume': _BOOLEAN,
    'log_level': (lambda value: value in _LEVELS, f'one of {", ".join(_LEVELS)}'),
    'find_unused_parameters': _BOOLEAN,
    'env_cfg': _GROUP,
    'env_cfg.mp_cfg.mp_start_method': (
        lambda value: value in _START_METHODS,
        f'one of {", ".join(_START_METHODS)}',
    ),
}


def check_groups(cfg: Config, names: tuple[str, ...]) -> None:
    """Refuse a config without the parts that a command needs.

    Args:
        cfg: As it was read.
        names: Such as ``'train_dataloader'``.

    Raises:
        InputError: Naming those that are absent.
    """
    absent = [name for name in names if not isinstance(cfg.get(name), dict)]
    if absent:
        raise InputError(
            f'{cfg.filename} has no {", ".join(absent)}, or it is no dictionary. A config that '
            'names one of ours in _base_ inherits all parts'
        )


def check_values(cfg: Config) -> None:
    """Refuse numbers out of range and groups that are none.

    Args:
        cfg: With the options of the command line in it.

    Raises:
        InputError: Naming the entry, its value and what it must be.
    """
    for split in ('val', 'test'):
        parts = [f'{split}_{part}' for part in ('dataloader', 'cfg', 'evaluator')]
        absent = [part for part in parts if cfg.get(part) is None]
        if 0 < len(absent) < len(parts):
            given = [part for part in parts if part not in absent]
            raise InputError(
                f'{cfg.filename}: {" and ".join(given)} without {" and ".join(absent)}; the three '
                'belong together, or all are None'
            )
    for pattern, (accepts, words) in _RULES.items():
        for path, value in _entries(cfg, pattern.split('.')):
            if not accepts(value):
                raise InputError(f'{cfg.filename}: {path} is {value!r}; it must be {words}')


def _entries(node: Any, pattern: list[str], path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the entries of a config whose dotted name fits a pattern, and their values."""
    if not pattern:
        yield path, node
        return
    if isinstance(node, (list, tuple)):
        children = [(str(place), child) for place, child in enumerate(node)]
    elif isinstance(node, (dict, Config)):
        children = [(str(key), child) for key, child in node.items()]
    else:
        return
    for key, child in children:
        if fnmatchcase(key, pattern[0]):
            yield from _entries(child, pattern[1:], f'{path}.{key}' if path else key)
