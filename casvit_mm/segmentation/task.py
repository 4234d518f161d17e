"""Semantic segmentation as :class:`casvit_mm.task.Task`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm.config.checks import require_metric
from casvit_mm.config.forms import entries
from casvit_mm.datasets.in_configs import image_root
from casvit_mm.datasets.picture_hooks import PicturesHook
from casvit_mm.distributed.group import on_first_rank, unwrapped_model
from casvit_mm.errors import InputError, plain_name
from casvit_mm.io import run_all, write_json
from casvit_mm.plotting.tables import print_lines
from casvit_mm.segmentation.data import config_datasets
from casvit_mm.segmentation.data.apply import apply_splits, check_config
from casvit_mm.segmentation.data.browse import PixelArtist
from casvit_mm.segmentation.data.description import SegmentationDescription, read_dataset
from casvit_mm.segmentation.data.prepare import PreparedSplit, prepare_dataset
from casvit_mm.segmentation.data.recoding import describe_coding
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU
from casvit_mm.segmentation.evaluation.names import COUNTS, MAIN_METRICS, metric_names
from casvit_mm.segmentation.evaluation.pictures import write_analysis
from casvit_mm.segmentation.evaluation.tables import print_metrics
from casvit_mm.segmentation.prediction.segmentor import set_label_segmentor
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

PREDICTIONS_IN_ONE_FILE = False

sample_artist = PixelArtist


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, int]:
    """Check the datasets that a config itself names, on one rank."""
    return on_first_rank(lambda: config_datasets.check_datasets(cfg, splits))


def apply_dataset(
    cfg: Config, data: str, splits: tuple[str, ...], classes: tuple[str, ...] | None = None
) -> tuple[int, list[str]]:
    """Check a custom dataset on one rank, and put it into the config on every rank."""
    check_config(cfg, splits)
    described, prepared = on_first_rank(lambda: _prepare(cfg, data, splits))
    apply_splits(cfg, described, prepared, classes)
    images = {name: len(split.pairs) for name, split in distinct_splits(prepared).items()}
    notes = {name: split.notes for name, split in prepared.items()}
    names = f'classes {", ".join(map(plain_name, described.classes))}'
    parts = distinct_splits(prepared).values()
    recoded = sum(split.recoded for split in parts)
    names += f', told by {describe_coding(described, recoded, sum(images.values()))}'
    first = prepared[splits[0]]
    lines = describe_dataset(described.path, images, names, notes)
    return len(first.pairs), [*described.notes, *lines]


def _prepare(
    cfg: Config, data: str, splits: tuple[str, ...]
) -> tuple[SegmentationDescription, dict[str, PreparedSplit]]:
    """Read the description and, once for it and the masks, what it names."""
    described = read_dataset(data)
    return described, prepare_dataset(described, splits, Path(cfg.work_dir, 'annotations'))


def configure_outputs(cfg: Config, outputs: EvaluationOutputs) -> None:
    """Write segmentation masks and pictures on every rank."""
    set_label_segmentor(cfg)  # the same labels sooner
    if outputs.out_pred is not None or outputs.analysis is not None:
        metric = require_metric(cfg, 'SegmentationIoU')
        metric.update(out_dir=outputs.out_pred, root=image_root(cfg))
    if outputs.show_dir is not None:
        hook = dict(type='SegmentationPicturesHook', out_dir=outputs.show_dir, root=image_root(cfg))
        cfg.custom_hooks = [*entries(cfg, 'custom_hooks'), hook]


def report(
    runner: Runner, metrics: dict[str, float], facts: dict[str, Any], outputs: EvaluationOutputs
) -> None:
    """Write every output, even after one of them has failed, then print the metrics."""
    metric = built_metric(runner, SegmentationIoU)
    # SegmentationIoU keeps the metrics of each class out of the log.
    all_metrics = {**metrics, **getattr(metric, 'details', {})}
    images = len(runner.test_dataloader.dataset)
    jobs: list[Callable[[], object]] = []
    notes: list[str] = []
    if outputs.out is not None:
        jobs.append(partial(write_json, outputs.out, {**all_metrics, **facts}))
    if outputs.out_pred is not None:
        jobs.append(partial(_check_masks, runner, outputs.out_pred, notes))
    if outputs.show_dir is not None:
        jobs += [h.check_written for h in runner.hooks if isinstance(h, PicturesHook)]
    if outputs.analysis is not None:
        jobs.append(partial(_write_analysis, runner, outputs.analysis, notes))
    try:
        run_all(jobs)
    finally:
        print_metrics(all_metrics, f'{facts["checkpoint"]} on {images} images')
        print_lines(notes)


def _check_masks(runner: Runner, folder: str, notes: list[str]) -> None:
    built_metric(runner, SegmentationIoU).check_written()
    notes.append(f'Predicted segmentation masks, one PNG per image: {folder}')


def _write_analysis(runner: Runner, folder: str, notes: list[str]) -> None:
    model = unwrapped_model(runner)
    dataset = runner.test_dataloader.dataset
    metric = built_metric(runner, SegmentationIoU)
    if not metric.details:
        raise InputError('--analysis: there is nothing to analyse without labels')
    summary = write_analysis(folder, metric, model, dataset)
    notes += ['', *summary['remarks'], f'Confusion matrix and the worst images: {folder}']
