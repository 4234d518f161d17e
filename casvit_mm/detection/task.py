"""Detection as :class:`casvit_mm.task.Task`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm.config.checks import require_metric
from casvit_mm.config.editing import innermost_dataset
from casvit_mm.config.forms import entries, metric_configs
from casvit_mm.datasets.in_configs import image_root
from casvit_mm.datasets.picture_hooks import PicturesHook
from casvit_mm.detection.data import config_datasets
from casvit_mm.detection.data.apply import apply_splits, check_config, least_side, needs_masks
from casvit_mm.detection.data.browse import ObjectArtist
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import PreparedSplit, prepare_dataset
from casvit_mm.detection.evaluation.analysis import analyse, summarise
from casvit_mm.detection.evaluation.metric import CocoAP
from casvit_mm.detection.evaluation.names import COUNTS, MAIN_METRICS, metric_names
from casvit_mm.detection.evaluation.pictures import write_analysis
from casvit_mm.detection.evaluation.predictions import write_predictions
from casvit_mm.detection.evaluation.tables import print_errors, print_metrics
from casvit_mm.distributed.group import on_first_rank
from casvit_mm.errors import InputError, plain_name
from casvit_mm.io import run_all, write_json
from casvit_mm.plotting.tables import print_lines
from casvit_mm.task import EvaluationOutputs, built_metric, distinct_splits

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

sample_artist = ObjectArtist


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, int]:
    """Check the datasets that a config itself names, on one rank, and index those of train."""
    checked = on_first_rank(lambda: config_datasets.check_datasets(cfg, splits))
    config_datasets.read_by_image(cfg, checked)
    return checked.listed


def apply_dataset(
    cfg: Config, data: str, splits: tuple[str, ...], classes: tuple[str, ...] | None = None
) -> tuple[int, list[str]]:
    """Check a custom dataset on one rank, and put it into the config on every rank."""
    check_config(cfg, splits)
    described = read_dataset(data)
    prepared = on_first_rank(
        lambda: prepare_dataset(
            described,
            splits,
            Path(cfg.work_dir, 'annotations'),
            needs_masks(cfg),
            classes,
            least_side(cfg) if 'train' in splits else 0,
        )
    )
    notes = apply_splits(cfg, described, prepared, classes)
    first = prepared[splits[0]]
    return first.summary.num_images, [*described.notes, *_describe(data, prepared, first), *notes]


def _describe(data: str, prepared: dict[str, PreparedSplit], first: PreparedSplit) -> list[str]:
    counts = '; '.join(
        f'{split.summary.num_images} {name} images, {split.summary.num_objects} objects'
        for name, split in distinct_splits(prepared).items()
    )
    classes = ', '.join(map(plain_name, first.summary.classes))
    notes = [f'custom dataset {data}: {counts}; classes {classes}']
    for name, split in distinct_splits(prepared).items():
        notes += [f'{name}: {note}' for note in split.notes]
    if first.dropped:
        left_out = ', '.join(f'{count} {plain_name(name)}' for name, count in first.dropped.items())
        notes.append(f'left out of train by classes: {left_out}')
    return notes


def configure_outputs(cfg: Config, outputs: EvaluationOutputs) -> None:
    """Keep predictions in the metric, and draw truth and prediction on every rank."""
    if outputs.show_dir is not None:
        of_config = cfg.default_hooks.get('visualization') or {}
        hook = dict(
            type='DetectionPicturesHook',
            out_dir=outputs.show_dir,
            root=image_root(cfg),
            score_thr=of_config.get('score_thr', 0.3),
        )
        cfg.custom_hooks = [*entries(cfg, 'custom_hooks'), hook]
        cfg.visualizer.vis_backends = []
    if outputs.out_pred is None and outputs.analysis is None:
        return
    require_metric(cfg, 'CocoAP').keep_predictions = True


def report(
    runner: Runner, metrics: dict[str, float], facts: dict[str, Any], outputs: EvaluationOutputs
) -> None:
    """Write every output, even after one of them has failed, then print the metrics."""
    # CocoAP keeps the metrics of each class and size out of the log.
    details = getattr(built_metric(runner, CocoAP), 'details', {})
    all_metrics = {**metrics, **{f'coco/{name}': value for name, value in details.items()}}
    files = [m.ann_file for m in metric_configs(runner.cfg, 'test') if m.get('ann_file')]
    data = files[0] if files else f'{len(runner.test_dataloader.dataset)} images'
    jobs: list[Callable[[], object]] = []
    errors: list[dict[str, Any]] = []
    written = getattr(built_metric(runner, CocoAP), 'files', ())
    notes = [f'Predictions as COCO results: {path}' for path in written]
    if outputs.out is not None:
        jobs.append(partial(write_json, outputs.out, {**all_metrics, **facts}))
    if outputs.out_pred is not None:
        jobs.append(partial(_write_predictions, runner, outputs.out_pred, notes))
    if outputs.show_dir is not None:
        jobs += [h.check_written for h in runner.hooks if isinstance(h, PicturesHook)]
    if outputs.analysis is not None:
        jobs.append(partial(_write_analysis, runner, outputs.analysis, errors, notes))
    try:
        run_all(jobs)
    finally:
        print_metrics(all_metrics, f'{facts["checkpoint"]} on {data}')
        for summary in errors:
            print_errors(summary)
        print_lines(notes)


def _write_predictions(runner: Runner, path: str, notes: list[str]) -> None:
    files = write_predictions(path, built_metric(runner, CocoAP).predictions)
    notes.append(f'Predictions as COCO results: {", ".join(map(str, files))}')


def _write_analysis(
    runner: Runner, folder: str, errors: list[dict[str, Any]], notes: list[str]
) -> None:
    metric = built_metric(runner, CocoAP)
    if metric.format_only:
        raise InputError('--analysis: there is nothing to analyse without labels')
    detections = next(iter(metric.predictions.values()))  # masks have boxes, too
    analysis = analyse(metric.ground_truth, detections, metric.categories)
    errors.append(summarise(analysis))
    dataset = innermost_dataset(runner.cfg.test_dataloader)
    images = Path(dataset.get('data_root') or '', dataset.data_prefix.img)
    write_analysis(folder, analysis, metric.ground_truth, metric.curves, images)
    notes.append(f'Curves, confusion matrix and the worst images: {folder}')
