"""Image classification as :class:`casvit_mm.task.Task`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm.classification.data import config_datasets
from casvit_mm.classification.data.apply import apply_splits, check_config
from casvit_mm.classification.data.browse import CropArtist
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.prepare import prepare_dataset
from casvit_mm.classification.evaluation.metric import ClassificationAccuracy
from casvit_mm.classification.evaluation.names import COUNTS, MAIN_METRICS, metric_names
from casvit_mm.classification.evaluation.pictures import write_analysis
from casvit_mm.classification.evaluation.predictions import write_predictions
from casvit_mm.classification.evaluation.tables import print_metrics
from casvit_mm.config.checks import require_metric
from casvit_mm.config.forms import entries
from casvit_mm.datasets.in_configs import image_root
from casvit_mm.datasets.picture_hooks import PicturesHook
from casvit_mm.distributed.group import on_first_rank
from casvit_mm.errors import InputError, first_names
from casvit_mm.io import run_all, write_json
from casvit_mm.plotting.tables import print_lines
from casvit_mm.task import EvaluationOutputs, built_metric, describe_dataset, distinct_splits

__all__ = [
    'COUNTS',
    'MAIN_METRICS',
    'PREDICTIONS_IN_ONE_FILE',
    'apply_dataset',
    'check_datasets',
    'configure_outputs',
    'metric_names',
    'read_dataset',
    'report',
    'sample_artist',
]

PREDICTIONS_IN_ONE_FILE = True

sample_artist = CropArtist

_LISTED = 20  # class names in the log, at most


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, int]:
    """Check the datasets that a config itself names, on one rank."""
    return on_first_rank(lambda: config_datasets.check_datasets(cfg, splits))


def apply_dataset(
    cfg: Config, data: str, splits: tuple[str, ...], classes: tuple[str, ...] | None = None
) -> tuple[int, list[str]]:
    """Check a custom dataset on one rank, and put it into the config on every rank."""
    check_config(cfg, splits)
    described = read_dataset(data)
    prepared = on_first_rank(
        lambda: prepare_dataset(described, splits, Path(cfg.work_dir, 'annotations'))
    )
    apply_splits(cfg, described, prepared, classes)
    images = {name: len(split.images) for name, split in distinct_splits(prepared).items()}
    notes = {name: split.notes for name, split in prepared.items()}
    first = prepared[splits[0]]
    names = f'{len(first.classes)} classes: {first_names(first.classes, _LISTED)}'
    lines = describe_dataset(described.path, images, names, notes)
    return len(first.images), [*described.notes, *lines]


def configure_outputs(cfg: Config, outputs: EvaluationOutputs) -> None:
    """Keep predictions in the metric, and draw truth and prediction on every rank."""
    if outputs.show_dir is not None:
        hook = dict(
            type='ClassificationPicturesHook', out_dir=outputs.show_dir, root=image_root(cfg)
        )
        cfg.custom_hooks = [*entries(cfg, 'custom_hooks'), hook]
    if outputs.out_pred is not None or outputs.analysis is not None:
        metric = require_metric(cfg, 'ClassificationAccuracy')
        metric.keep_unlabelled = outputs.out_pred is not None


def report(
    runner: Runner, metrics: dict[str, float], facts: dict[str, Any], outputs: EvaluationOutputs
) -> None:
    """Write every output, even after one of them has failed, then print the metrics."""
    metric = built_metric(runner, ClassificationAccuracy)
    # ClassificationAccuracy keeps the metrics of each class out of the log.
    all_metrics = {**metrics, **getattr(metric, 'details', {})}
    images = len(runner.test_dataloader.dataset)
    title = f'{facts["checkpoint"]} on {images} images'
    jobs: list[Callable[[], object]] = []
    notes: list[str] = []
    if outputs.out is not None:
        jobs.append(partial(write_json, outputs.out, {**all_metrics, **facts}))
    if outputs.out_pred is not None:
        jobs.append(partial(_write_predictions, outputs.out_pred, metric, notes))
    if outputs.show_dir is not None:
        jobs += [h.check_written for h in runner.hooks if isinstance(h, PicturesHook)]
    if outputs.analysis is not None:
        jobs.append(partial(_write_analysis, outputs.analysis, metric, notes))
    try:
        run_all(jobs)
    finally:
        print_metrics(all_metrics, title, metric.taken_for() if metrics and metric else None)
        print_lines(notes)


def _write_predictions(path: str, metric: Any, notes: list[str]) -> None:
    write_predictions(path, metric)
    notes.append(f'Predictions, one per image: {path}')


def _write_analysis(folder: str, metric: Any, notes: list[str]) -> None:
    if not metric.details:
        raise InputError('--analysis: there is nothing to analyse without labels')
    summary = write_analysis(folder, metric)
    notes += ['', *summary['remarks'], f'Confusion matrix and the worst images: {folder}']
