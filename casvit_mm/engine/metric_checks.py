"""Metrics that a config asks for or watches, checked before anything is trained or predicted."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase

from mmengine.config import Config
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS

from casvit_mm.config.forms import entries, metric_configs, type_of
from casvit_mm.errors import InputError
from casvit_mm.task import Task

__all__ = ['check_metrics']


def check_metrics(cfg: Config, task: Task, split: str) -> None:
    """Refuse a metric that does not exist, and in training one that is watched and not reported.

    Args:
        cfg: The config, with the classes of its data.
        task: Its task.
        split: ``'val'`` in a training, ``'test'`` in an evaluation.

    Raises:
        InputError: Naming the metric, and those that there are.
    """
    known = [_names(cfg, task, metric) for metric in metric_configs(cfg, split)]
    if split != 'val' or not known or None in known:
        return
    names = [name for of_metric in known for name in of_metric or ()]
    for entry, watched in _watched(cfg):
        if not any(fnmatchcase(watched, name) for name in names):
            near = difflib.get_close_matches(watched, names, n=1, cutoff=0)
            raise InputError(
                f'{cfg.filename}: {entry} is {watched!r}, which val_evaluator does not report'
                + (f'; did you mean {near[0]!r}? It reports {", ".join(names)}' if near else '')
            )


def _names(cfg: Config, task: Task, metric: dict) -> list[str] | None:
    kind = type_of(cfg, METRICS, metric)
    nothing = isinstance(kind, type) and issubclass(kind, DumpResults)
    names = [] if nothing else task.metric_names(cfg, metric)
    return [] if metric.get('format_only') else names


def _watched(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield every entry that names a metric of the validation, and the metric."""
    named = (cfg.get('default_hooks') or {}).items()
    hooks = [(f'default_hooks.{name}', hook) for name, hook in named]
    hooks += [(f'custom_hooks.{i}', hook) for i, hook in enumerate(entries(cfg, 'custom_hooks'))]
    schedulers = enumerate(entries(cfg, 'param_scheduler'))
    hooks += [(f'param_scheduler.{i}', scheduler) for i, scheduler in schedulers]
    for place, node in hooks:
        for key in ('save_best', 'monitor'):
            for watched in entries(node or {}, key):
                if watched != 'auto':
                    yield f'{place}.{key}', watched
