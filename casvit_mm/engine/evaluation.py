"""Evaluation with MMEngine's Runner, as ``casvit-mm test`` runs it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from casvit_mm.config.building import memory_for
from casvit_mm.config.checks import check_backbone
from casvit_mm.config.forms import type_name
from casvit_mm.config.paths import config_name
from casvit_mm.config.type_checks import explaining_build_errors
from casvit_mm.config.value_checks import check_groups
from casvit_mm.console import step
from casvit_mm.deploy.engines import is_exported
from casvit_mm.deploy.tiled import check_task
from casvit_mm.deploy.tiles import read_tiles
from casvit_mm.distributed.group import init_distributed, on_first_rank
from casvit_mm.engine.data_loading import dead_workers_told
from casvit_mm.engine.exported import check_classes, exported_model, read_spec, tiled_checkpoint
from casvit_mm.engine.metric_checks import check_metrics
from casvit_mm.engine.next_commands import after_test, as_text, holds_config
from casvit_mm.engine.progress import showing_progress
from casvit_mm.engine.setup import build_runner, load_config
from casvit_mm.engine.step_errors import explaining_steps
from casvit_mm.engine.stored_recipe import stored_recipe
from casvit_mm.engine.tasks import task_of
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable
from casvit_mm.task import EvaluationOutputs, task_name
from casvit_mm.weights.reading import class_names, load_file

__all__ = ['evaluate']


def evaluate(
    config: str | None,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    data: str | None = None,
    out: str | None = None,
    out_pred: str | None = None,
    analysis: str | None = None,
    show_dir: str | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    cfg_options: dict | None = None,
    launcher: str = 'none',
) -> dict[str, float]:
    """Evaluate a checkpoint on the test split and print the metrics as tables.

    Args:
        config: Config file; None takes model and pipeline from the checkpoint, metrics from our
            published recipe of the task, and needs ``data``.
        checkpoint: File of weights, of our training runs or the authors'; or ``.onnx`` or ``.xml``
            of ``casvit-mm export``, which its engine runs.
        work_dir: Folder for logs and the config as it ran; ``test`` in the work dir of the config
            if None.
        data: ``dataset.yaml`` of a custom dataset; its test split, or val where it has none.
        out: JSON file for the metrics, with those of each class and size.
        out_pred: JSON file for detections as COCO results, masks in ``<stem>.segm.json`` beside
            it; for segmentation, folder for the predicted masks as PNGs; for classification, JSON
            file with the most probable classes of each image.
        analysis: Folder for the confusion matrix and the worst images, for detection also for
            precision-recall curves.
        show_dir: Folder for pictures of truth and prediction.
        tile: Side in pixels of the tiles by which larger images are read, of detection and
            segmentation; None reads them whole.
        overlap: Share of a tile that neighbours have in common; 0.2 if None.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        The metrics by name, e.g. ``coco/bbox_mAP`` or ``mIoU``.

    Raises:
        InputError: If anything the user gave cannot work, before the evaluation starts; or if a
            result cannot be written, after the others are written and the metrics printed.
    """
    cfg = _config_to_test(config, checkpoint, data, work_dir, cfg_options, launcher)
    task = task_of(cfg)
    outputs = EvaluationOutputs(out, out_pred, analysis, show_dir)
    tiles = read_tiles(tile, overlap)
    if tiles is not None:
        check_task(task_name(cfg))

    init_distributed(cfg)
    with step('checking the model'):
        on_first_rank(lambda: check_backbone(cfg))
    spec = read_spec(checkpoint, cfg) if is_exported(checkpoint) else None
    content = {} if spec else load_file(checkpoint)
    classes = spec.classes if spec else class_names(content)
    enough = holds_config(content)
    del content
    with step(f'reading and checking the data{f" of {data}" if data else ""}'):
        if data is not None:
            task.apply_dataset(cfg, data, ('test',), classes)
        else:
            task.check_datasets(cfg, ('test',))
        on_first_rank(lambda: check_metrics(cfg, task, 'test'))
    task.configure_outputs(cfg, outputs)
    if spec is not None:
        check_classes(checkpoint, spec, cfg)
        cfg.model, cfg.load_from = exported_model(checkpoint, tiles), None
    elif tiles is not None:
        cfg.model, cfg.load_from = tiled_checkpoint(checkpoint, cfg, tiles), None
    files, folders = {'--out': out}, {'--analysis': analysis, '--show-dir': show_dir}
    (files if task.PREDICTIONS_IN_ONE_FILE else folders)['--out-pred'] = out_pred
    on_first_rank(lambda: check_writable(files, folders))

    with explaining_build_errors(cfg), memory_for(config, checkpoint):
        runner = build_runner(cfg, [])
    start = time.perf_counter()
    with explaining_build_errors(cfg), explaining_steps(runner), dead_workers_told():
        with showing_progress(runner):
            found = runner.test()
        metrics, others = _numbers(found)
    seconds = time.perf_counter() - start
    if is_main_process():
        facts: dict[str, Any] = dict(config=config, checkpoint=checkpoint, seconds=seconds)
        task.report(runner, metrics, facts | others, outputs)
        if not metrics:
            print(
                'No metrics: test_evaluator reported none, as without labels, by format_only, or '
                "by mmdet's CocoMetric where nothing was detected"
            )
        for what, place in (('Metrics', out), ('Pictures of every image', show_dir)):
            if place is not None:
                print(f'{what}: {place}')
        lines = after_test(config, checkpoint, data, spec is not None, enough)
        print(f'\n{as_text(lines[analysis is not None :])}')
    return metrics


def _config_to_test(
    config: str | None,
    checkpoint: str,
    data: str | None,
    work_dir: str | None,
    cfg_options: dict | None,
    launcher: str,
) -> Config:
    """Return the config of an evaluation, before it knows of the data.

    Raises:
        InputError: If it cannot be read or lacks what an evaluation needs.
    """
    with step('reading the config'):
        recipe = config or _without_config(checkpoint, data)
        cfg = load_config(recipe, ('test',), cfg_options, launcher, work_dir, data)
    check_groups(cfg, ('test_dataloader', 'test_cfg'))
    cfg.work_dir = _own_folder(cfg, config or cfg.filename, work_dir)
    if cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None
    cfg.load_from, cfg.resume = checkpoint, False
    # A checkpoint already holds the averaged weights as its weights; the hook would swap them out.
    cfg.custom_hooks = [h for h in cfg.custom_hooks if not type_name(h).endswith('EMAHook')]
    return cfg


def _without_config(checkpoint: str, data: str | None) -> Config:
    """Return the recipe for a checkpoint alone.

    Raises:
        InputError: If it is an exported file, there is no data, or it holds no config.
    """
    if is_exported(checkpoint):
        raise InputError(
            f'{checkpoint} is an exported file, whose config is to be named: CONFIG before it'
        )
    if data is None:
        raise InputError(
            f'name what to evaluate {checkpoint} on: --data dataset.yaml, or a CONFIG before it, '
            'whose data are taken'
        )
    return stored_recipe(checkpoint)


def _numbers(found: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Part what an evaluator returned: metrics, and what is no number, which no table can show."""
    metrics, others = {}, {}
    for name, value in found.items():
        try:
            metrics[name] = float(value)
        except (TypeError, ValueError, RuntimeError):  # the last of a tensor of several numbers
            others[name] = str(value)
    return metrics, others


def _own_folder(cfg: Config, config: str, work_dir: str | None) -> str:
    """Return a folder where the Runner's copy of the config cannot replace that of the training."""
    copied = Path(cfg.work_dir, config_name(config))
    if work_dir is not None and copied.resolve() != Path(config).resolve():
        return cfg.work_dir
    return str(Path(cfg.work_dir, 'test'))
