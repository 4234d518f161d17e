"""Semantic segmentation as :class:`casvit_mm.task.Task`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm.config.editing import innermost_dataset
from casvit_mm.distributed import on_first_rank
from casvit_mm.errors import InputError
from casvit_mm.io import run_all, write_json
from casvit_mm.segmentation.data.apply import apply_splits, check_config
from casvit_mm.segmentation.data.config_datasets import check_datasets
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.prepare import prepare_dataset
from casvit_mm.segmentation.evaluation.analysis import write_analysis
from casvit_mm.segmentation.evaluation.hooks import SegmentationPicturesHook
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU
from casvit_mm.segmentation.evaluation.tables import print_segmentation_metrics
from casvit_mm.task import Wanted, describe_own_data, distinct_splits, require_metric

__all__ = ['PREDICTIONS_IN_ONE_FILE', 'ask_for', 'check_datasets', 'put_own_data', 'report']

PREDICTIONS_IN_ONE_FILE = False


_STRIDE = 32  # of the backbone's last stage


def put_own_data(
    cfg: Config, data: str, splits: tuple[str, ...], classes: tuple[str, ...] | None = None
) -> tuple[int, list[str]]:
    """Check splits of own data on one rank, and put them into the config on every rank."""
    check_config(cfg)
    described = read_dataset(data)
    prepared = on_first_rank(
        lambda: prepare_dataset(described, splits, Path(cfg.work_dir, 'annotations'))
    )
    apply_splits(cfg, described, prepared, classes)
    images = {name: len(split.pairs) for name, split in distinct_splits(prepared).items()}
    remarks = {name: split.notes for name, split in prepared.items()}
    names = f'classes {", ".join(described.classes)}'
    notes = describe_own_data(described.path, images, names, remarks)
    return len(prepared[splits[0]].pairs), notes


def ask_for(cfg: Config, wanted: Wanted) -> None:
    """Write label maps and pictures on every rank, and read large images by windows."""
    if wanted.slide is not None:
        if wanted.slide < 2 * _STRIDE or wanted.slide % _STRIDE:
            raise InputError(
                f'--slide {wanted.slide}: the side of the window must be a multiple of {_STRIDE}, '
                f'from {2 * _STRIDE}; the crop size of the training is a good choice'
            )
        # Windows overlap by a third, as in mmseg's own configs.
        step = wanted.slide * 2 // 3
        cfg.model.test_cfg = dict(
            mode='slide', crop_size=(wanted.slide, wanted.slide), stride=(step, step)
        )
    if wanted.out_pred is not None or wanted.analysis is not None:
        require_metric(cfg, 'SegmentationIoU')
        cfg.test_evaluator.update(out_dir=wanted.out_pred, root=_image_root(cfg))
    if wanted.show_dir is not None:
        hook = dict(type='SegmentationPicturesHook', out_dir=wanted.show_dir, root=_image_root(cfg))
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]


def _image_root(cfg: Config) -> str:
    """Return the folder that test images count from; what is written for one is named so."""
    dataset = innermost_dataset(cfg.test_dataloader)
    prefix = dataset.get('data_prefix', {}).get('img_path', '')
    return str(Path(dataset.get('data_root') or '', prefix))


def report(
    runner: Runner, metrics: dict[str, float], facts: dict[str, Any], wanted: Wanted
) -> None:
    """Print the figures, then write what was asked for, the rest also where one of it fails."""
    metric = runner.test_evaluator.metrics[0]
    # SegmentationIoU keeps the figures of each class out of the log.
    figures = {**metrics, **getattr(metric, 'details', {})}
    images = len(runner.test_dataloader.dataset)
    print_segmentation_metrics(figures, f'{facts["checkpoint"]} on {images} images')
    jobs: list[Callable[[], object]] = []
    if wanted.out is not None:
        jobs.append(partial(write_json, wanted.out, {**figures, **facts}))
    if wanted.out_pred is not None:
        jobs.append(partial(_tell_label_maps, metric, wanted.out_pred))
    if wanted.show_dir is not None:
        jobs += [h.check_written for h in runner.hooks if isinstance(h, SegmentationPicturesHook)]
    if wanted.analysis is not None:
        jobs.append(partial(_write_analysis, runner, wanted.analysis))
    run_all(jobs)


def _tell_label_maps(metric: SegmentationIoU, folder: str) -> None:
    metric.check_written()
    print('Predicted label maps, one PNG per image:', folder)


def _write_analysis(runner: Runner, folder: str) -> None:
    model = getattr(runner.model, 'module', runner.model)
    dataset = runner.test_dataloader.dataset
    summary = write_analysis(folder, runner.test_evaluator.metrics[0], model, dataset)
    print('\n' + '\n'.join(summary['remarks']))
    print('Confusion matrix and the worst images:', folder)
