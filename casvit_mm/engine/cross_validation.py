"""Cross-validation: what a recipe reaches on a set too small to set images aside."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
import statistics
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from casvit_mm.detection.data.description import read_dataset
from casvit_mm.engine.evaluation import evaluate
from casvit_mm.engine.training import train
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['cross_validate']


def cross_validate(
    config: str, data: str, folds: int, *, work_dir: str | None = None, **options: Any
) -> dict[str, dict[str, float]]:
    """Train and evaluate once per fold, and summarise the figures over the folds.

    Fold k is the k-th block of the images sorted by name. Each fold trains in a process of its own
    and is evaluated with its last checkpoint, not its best: the best would be chosen by the very
    images that it is measured on. What is done already, is not done again.

    Args:
        config: Config file.
        data: ``dataset.yaml`` that names one set under ``data``.
        folds: Number of folds.
        work_dir: Folder with one sub-folder per fold; ``work_dirs/<config>_folds`` if None.
        options: Further arguments of :func:`casvit_mm.engine.train`.

    Returns:
        ``mean`` and ``std`` (of a sample) per figure; also written to ``summary.json``.

    Raises:
        InputError: If the description has no ``data``, or a fold failed.
    """
    folder = Path(work_dir or f'work_dirs/{Path(config).stem}_folds')
    description = _describe(data)
    figures = []
    for fold in range(folds):
        fold_dir = folder / f'fold_{fold}'
        result = fold_dir / 'metrics.json'
        if not result.is_file():
            fold_dir.mkdir(parents=True, exist_ok=True)
            fold_data = fold_dir / 'dataset.yaml'
            split = dict(folds=folds, fold=fold)
            fold_data.write_text(yaml.safe_dump({**description, 'split': split}))
            read_dataset(fold_data)
            process = multiprocessing.get_context('spawn').Process(
                target=_run_fold, args=(config, str(fold_data), fold_dir, options)
            )
            process.start()
            process.join()
            if not result.is_file():
                raise InputError(
                    f'fold {fold} failed, see above. The same command goes on from there.'
                )
        figures.append(json.loads(result.read_text()))
    summary = {
        name: _summary([fold[name] for fold in figures])
        for name in figures[0]
        if name.startswith('coco/') and '/objects/' not in name
    }
    write_json(folder / 'summary.json', {'folds': folds, **summary})
    _print(summary, folds)
    return summary


def _describe(data: str) -> dict[str, Any]:
    """Return the fields of a description, with paths that hold from any folder."""
    root = read_dataset(data).root
    content = yaml.safe_load(Path(data).read_text())
    if 'data' not in content:
        raise InputError(
            f'{data} names train and val; cross-validation takes one set apart: name it under '
            'data:, with split: {folds: 2}'
        )
    return {**content, 'root': str(root)}


def _run_fold(config: str, data: str, folder: Path, options: dict[str, Any]) -> None:
    runner = train(config, data=data, work_dir=str(folder), resume='auto', **options)
    checkpoint = runner.message_hub.get_info('last_ckpt')
    evaluate(
        str(folder / Path(config).name),
        checkpoint,
        data=data,
        work_dir=str(folder / 'test'),
        out=str(folder / 'metrics.json'),
    )


def _summary(values: list[float | None]) -> dict[str, float]:
    """Return mean and sample deviation of the folds that have the figure."""
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known else math.nan
    return {'mean': mean, 'std': statistics.stdev(known) if len(known) > 1 else math.nan}


def _print(summary: dict[str, dict[str, float]], folds: int) -> None:
    table = Table(title=f'{folds} folds')
    for column in ('figure', 'mean', 'std'):
        table.add_column(column, justify='left' if column == 'figure' else 'right')
    for name, figure in summary.items():
        if re.search(r'_mAP(_50|_75|_[sml])?$|_AP/', name):
            table.add_row(name, f'{figure["mean"]:.3f}', f'{figure["std"]:.3f}')
    Console().print(table)
