"""Evaluation with MMEngine's Runner, as ``tools/test.py`` runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from casvit_mm.datasets.own_data import innermost_dataset
from casvit_mm.engine.distributed import init_distributed, on_first_rank
from casvit_mm.engine.preflight import check_backbone, check_datasets
from casvit_mm.engine.setup import build_runner, load_config, put_own_data
from casvit_mm.errors import InputError
from casvit_mm.reporting import check_writable, print_errors, print_metrics, run_all, write_json
from casvit_mm.weights import class_names, load_file

__all__ = ['evaluate']


def evaluate(
    config: str,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    data: str | None = None,
    out: str | None = None,
    out_pred: str | None = None,
    analysis: str | None = None,
    show_dir: str | None = None,
    cfg_options: dict | None = None,
    launcher: str = 'none',
) -> dict[str, float]:
    """Evaluate a checkpoint on the test split and print the figures as tables.

    Args:
        config: Config file.
        checkpoint: File of weights, of our training runs or the authors'.
        work_dir: Folder for logs; ``work_dirs/<config>`` if None.
        data: ``dataset.yaml`` of own data; its test split, or val where it has none.
        out: JSON file for the figures, also those of each class and size.
        out_pred: JSON file for the predictions as COCO results; masks go to ``<stem>.segm.json``
            beside it.
        analysis: Folder for precision-recall curves, the confusion matrix and the worst images.
        show_dir: Folder for pictures, truth on the left and predictions on the right.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        The figures by name, e.g. ``coco/bbox_mAP``.

    Raises:
        InputError: If anything the user gave cannot work, before the evaluation starts; or if a
            result cannot be written, after the figures are printed and the others written.
    """
    cfg = load_config(config, cfg_options, launcher, work_dir)
    if cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None
    cfg.load_from, cfg.resume = checkpoint, False
    if show_dir is not None:
        cfg.default_hooks.visualization.update(
            type='AllRanksVisualizationHook', draw=True, test_out_dir=str(Path(show_dir).resolve())
        )
        cfg.visualizer.vis_backends = []
    if out_pred is not None or analysis is not None:
        _keep_predictions(cfg)

    init_distributed(cfg)
    on_first_rank(lambda: check_backbone(cfg))
    content = load_file(checkpoint)
    if data is not None:
        put_own_data(cfg, data, ('test',), class_names(content))
    else:
        on_first_rank(lambda: check_datasets(cfg, ('test',)))
    files, folders = {'--out': out, '--out-pred': out_pred}, {'--analysis': analysis}
    folders['--show-dir'] = show_dir
    on_first_rank(lambda: check_writable(files, folders))

    runner = build_runner(cfg, [])
    start = time.perf_counter()
    metrics = {name: float(value) for name, value in runner.test().items()}
    seconds = time.perf_counter() - start
    if is_main_process():
        facts: dict[str, Any] = dict(config=config, checkpoint=checkpoint, seconds=seconds)
        _report(runner, metrics, facts, out, out_pred, analysis)
    return metrics


def _report(
    runner: Runner,
    metrics: dict[str, float],
    facts: dict[str, Any],
    out: str | None,
    out_pred: str | None,
    analysis: str | None,
) -> None:
    """Print the figures, then write what was asked for, the rest also where one of it fails."""
    # CocoAP keeps the figures of each class and size out of the log.
    details = getattr(runner.test_evaluator.metrics[0], 'details', {})
    figures = {**metrics, **{f'coco/{name}': value for name, value in details.items()}}
    print_metrics(figures, f'{facts["checkpoint"]} on {runner.cfg.test_evaluator.ann_file}')
    jobs: list[Callable[[], object]] = []
    if out is not None:
        jobs.append(partial(write_json, out, {**figures, **facts}))
    if out_pred is not None:
        jobs.append(partial(_write_predictions, runner, out_pred))
    if analysis is not None:
        jobs.append(partial(_write_analysis, runner, analysis))
    run_all(jobs)


def _keep_predictions(cfg: Config) -> None:
    if cfg.test_evaluator.get('type') != 'CocoAP':
        raise InputError(
            f'--out-pred and --analysis need test_evaluator.type=CocoAP; {cfg.filename} has '
            f'{cfg.test_evaluator.get("type")!r}'
        )
    cfg.test_evaluator.keep_predictions = True


def _write_predictions(runner: Runner, path: str) -> None:
    from casvit_mm.detection.metric import write_predictions

    files = write_predictions(path, runner.test_evaluator.metrics[0].predictions)
    print('Predictions as COCO results:', ', '.join(map(str, files)))


def _write_analysis(runner: Runner, folder: str) -> None:
    from casvit_mm.detection.analysis import analyse, summarise, write_analysis

    metric = runner.test_evaluator.metrics[0]
    detections = next(iter(metric.predictions.values()))  # masks have boxes, too
    analysis = analyse(metric.ground_truth, detections, metric.categories)
    print_errors(summarise(analysis))
    dataset = innermost_dataset(runner.cfg.test_dataloader)
    images = Path(dataset.get('data_root') or '', dataset.data_prefix.img)
    write_analysis(folder, analysis, metric.ground_truth, metric.curves, images)
    print('Curves, confusion matrix and the worst images:', folder)
