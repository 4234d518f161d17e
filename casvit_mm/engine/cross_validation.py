"""Cross-validation: what a recipe reaches on a set too small to set images aside."""

from __future__ import annotations

import math
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from casvit_mm.config.paths import config_name
from casvit_mm.config.reading import read_config
from casvit_mm.console import say
from casvit_mm.datasets.description import read_fields
from casvit_mm.datasets.splitting import record_of
from casvit_mm.engine.evaluation import evaluate
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.setup import default_work_dir
from casvit_mm.engine.subprocesses import run_once
from casvit_mm.engine.tasks import task_of
from casvit_mm.engine.training import train
from casvit_mm.errors import InputError, plain_name
from casvit_mm.io import check_writable, write_json
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.task import Task

__all__ = ['cross_validate']


def cross_validate(
    config: str,
    data: str,
    folds: int,
    *,
    work_dir: str | None = None,
    options: TrainOptions | None = None,
) -> dict[str, dict[str, float]]:
    """Train and evaluate once per fold, and summarise the metrics over the folds.

    Folds are those of :func:`casvit_mm.datasets.drawing.cut_folds`; what ``split`` keeps together
    stays so.
    Each fold trains in a process of its own and is evaluated with its last checkpoint, not its
    best: the best would be chosen by the very images that it is measured on. A fold that is
    complete is not repeated.

    Args:
        config: Config file of any task.
        data: ``dataset.yaml`` that names one set under ``data``.
        folds: Number of folds.
        work_dir: Folder with one sub-folder per fold; ``work_dirs/<config>_<data>_folds`` if None.
        options: Of each training; ``data``, ``work_dir`` and ``start.resume`` are set here.

    Returns:
        ``mean`` and sample ``std`` per metric; also written to ``summary.json``.

    Raises:
        InputError: If there are fewer than 2 folds or they cannot be written, the description has
            no ``data``, or a fold failed.
    """
    folder = Path(work_dir or f'{default_work_dir(config, data)}_folds')
    if folds < 2:
        raise InputError(f'--folds must be 2 or more, got {folds}')
    check_writable({}, {'--work-dir': str(folder)})
    task = task_of(read_config(config))
    description = _describe(data, task)
    group = description['split'].get('group')
    kept = {} if group is None else {'group': group}
    options = options or TrainOptions()
    metrics = []
    for fold in range(folds):
        fold_dir = folder / f'fold_{fold}'
        fold_dir.mkdir(parents=True, exist_ok=True)
        fold_data = fold_dir / 'dataset.yaml'
        split = dict(kept, folds=folds, fold=fold)
        fold_data.write_text(yaml.safe_dump({**description, 'split': split}))
        drawn = record_of(folder / 'fold_0' / fold_data.name)
        if fold and drawn.is_file():  # the images need not be read again to draw the same folds
            shutil.copy(drawn, record_of(fold_data))
        fold_options = replace(
            options,
            data=str(fold_data),
            work_dir=str(fold_dir),
            start=replace(options.start, resume='auto'),
        )
        say(f'\nfold {fold + 1} of {folds}: {fold_dir}')
        metrics.append(run_once(fold_dir / 'metrics.json', _run_fold, config, fold_options))
    summary = _summarise(metrics, task)
    write_json(folder / 'summary.json', {'folds': folds, **summary})
    _print({k: v for k, v in summary.items() if task.MAIN_METRICS.fullmatch(k)}, folds)
    return summary


def _describe(data: str, task: Task) -> dict[str, Any]:
    """Return the fields of a description, with paths that hold from any folder."""
    described = task.read_dataset(data)
    if described.split is None:
        raise InputError(
            f'{data} names train and val; cross-validation splits one set itself: name it under '
            'data:, with split: {folds: 2}'
        )
    return {**read_fields(data).fields, 'root': str(described.root)}


def _run_fold(config: str, options: TrainOptions) -> None:
    """Train and evaluate one fold; writes ``metrics.json`` in its work dir."""
    runner = train(config, options)
    folder = Path(runner.work_dir)
    evaluate(
        str(folder / config_name(config)),
        runner.message_hub.get_info('last_ckpt'),
        data=options.data,
        work_dir=str(folder / 'test'),
        out=str(folder / 'metrics.json'),
    )


def _summarise(folds: list[dict[str, Any]], task: Task) -> dict[str, dict[str, float]]:
    """Return mean and sample deviation of every metric, over the folds that have it."""
    summary = {}
    for name in dict.fromkeys(name for fold in folds for name in fold):
        found = [fold.get(name) for fold in folds]
        known = [value for value in found if isinstance(value, (int, float))]
        text = any(isinstance(value, str) for value in found)
        if text or name == 'seconds' or name.startswith(task.COUNTS):
            continue  # no metric
        mean = statistics.fmean(known) if known else math.nan
        std = statistics.stdev(known) if len(known) > 1 else math.nan
        summary[name] = {'mean': mean, 'std': std}
    return summary


def _print(summary: dict[str, dict[str, float]], folds: int) -> None:
    table = Table(title=f'{folds} folds')
    for column in ('metric', 'mean', 'std'):
        table.add_column(column, justify='left' if column == 'metric' else 'right')
    for name, values in summary.items():
        table.add_row(plain_name(name), f'{values["mean"]:.3f}', f'{values["std"]:.3f}')
    LiteralConsole().print(table)
