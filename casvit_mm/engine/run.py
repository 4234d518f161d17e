"""Train and evaluate a config: the library behind ``tools/train.py`` and ``tools/test.py``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import CheckpointLoader, Runner

import casvit_mm.engine.hooks  # noqa: F401  registers the hooks
from casvit_mm.datasets import apply_own_data, prepare_own_data, read_own_data
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.own_data import (
    PreparedSplit,
    check_reads_coco,
    innermost_dataset,
    needs_masks,
)
from casvit_mm.engine.distributed import init_distributed, on_first_rank
from casvit_mm.engine.finetune import finetune_from
from casvit_mm.engine.preflight import (
    check_backbone,
    check_datasets,
    check_pretrained,
    read_config,
)
from casvit_mm.engine.resume import (
    find_checkpoint,
    make_deterministic,
    make_resumable,
    resume_from,
)
from casvit_mm.errors import InputError
from casvit_mm.reporting import check_writable, print_errors, print_metrics, run_all, write_json
from casvit_mm.weights import load_file, read_checkpoint

__all__ = ['evaluate', 'train']

# Modules that register what the functions below put into a config.
_REGISTERING = ('casvit_mm.engine.hooks', 'casvit_mm.engine.resume', 'casvit_mm.engine.finetune')


def _load_config(
    path: str, cfg_options: dict | None, launcher: str, work_dir: str | None
) -> Config:
    """Read a config and put the options on top that training and evaluation share."""
    cfg = read_config(path)
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}'
    # Named in the config, so that its copy in the work dir also runs in mmdet's own tools.
    imports = cfg.setdefault('custom_imports', dict(imports=[]))
    imports.imports = list(dict.fromkeys([*imports.imports, *_REGISTERING]))
    for hook in ('PlainCheckpointHook', 'HostStatsHook'):
        _add_hook(cfg, hook)
    return cfg


def _add_hook(cfg: Config, hook_type: str) -> None:
    """Add a hook unless it is there, as it is in a config copied from a work dir."""
    hooks = cfg.get('custom_hooks', [])
    if all(hook.get('type') != hook_type for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=hook_type)]


def _build_runner(cfg: Config, notes: list[str]) -> Runner:
    """Build the Runner, make it read checkpoints safely, and log what was changed for the user."""
    CheckpointLoader.register_scheme(prefixes='', loader=read_checkpoint, force=True)
    runner = Runner.from_cfg(cfg)
    for note in notes:
        runner.logger.info(note)
    return runner


def train(
    config: str,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    from_scratch: bool = False,
    finetune: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    tensorboard: bool = False,
    cfg_options: dict | None = None,
    launcher: str = 'none',
) -> Runner:
    """Train a config.

    Args:
        config: Config file.
        work_dir: Folder for logs and checkpoints; ``work_dirs/<config>`` if None.
        resume: Checkpoint to go on from, or ``'auto'`` for the last one in ``work_dir``, if any.
        amp: Mixed precision (GPU only).
        auto_scale_lr: Scale the learning rate linearly with the total batch size.
        from_scratch: Train without pretrained weights, with the backbone's norms learning.
        finetune: Trained model to start from, whatever its classes; see
            :mod:`casvit_mm.engine.finetune`. Where ``resume`` finds a checkpoint, that goes first.
        data: ``dataset.yaml`` of own data; see :mod:`casvit_mm.datasets.description`.
        seed: Random seed; drawn and logged if None.
        deterministic: Only operators that give the same result every time.
        tensorboard: Also write a TensorBoard event file.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        The Runner, after training.

    Raises:
        InputError: If anything the user gave cannot work, before training starts; or if a
            checkpoint cannot be written.
        SystemExit: With status 143 after SIGTERM, when the state of the run is saved.
    """
    if finetune and (from_scratch or resume not in (None, 'auto')):
        other = '--from-scratch' if from_scratch else f'--resume {resume}'
        raise InputError(f'--finetune {finetune} and {other} name two places to start from')
    cfg = _load_config(config, cfg_options, launcher, work_dir)
    cfg.randomness = dict(seed=seed, deterministic=deterministic)
    if deterministic:
        make_deterministic(cfg)
    notes: list[str] = []
    if from_scratch:
        _train_from_scratch(cfg, notes)
    checkpoint = _start(cfg, resume, notes)
    make_resumable(cfg)
    if amp:
        _use_amp(cfg)
    if auto_scale_lr:
        cfg.setdefault('auto_scale_lr', dict()).enable = True
        if 'base_batch_size' not in cfg.auto_scale_lr:
            raise InputError(f'--auto-scale-lr: {config} has no auto_scale_lr.base_batch_size')
    if tensorboard:
        cfg.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))

    init_distributed(cfg)
    if cfg.launcher != 'none' and not cfg.model.get('backbone', {}).get('norm_eval', False):
        # Each process keeps running statistics of its own images; evaluate their mean.
        _add_hook(cfg, 'AverageBuffersHook')
    on_first_rank(lambda: check_backbone(cfg))
    if checkpoint is None and finetune is None:
        on_first_rank(lambda: check_pretrained(cfg))
    _prepare_data(cfg, data, notes)
    if checkpoint is None and finetune is not None:
        finetune_from(cfg, finetune, notes)
    runner = _build_runner(cfg, notes)
    _run(runner)
    _log_result(runner, config)
    return runner


def _start(cfg: Config, resume: str | None, notes: list[str]) -> str | None:
    """Return the checkpoint to go on from, after putting it into the config; None to begin."""
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    checkpoint = find_checkpoint(resume, cfg.work_dir)
    if checkpoint is not None:
        resume_from(cfg, checkpoint, notes)
    elif resume is not None:
        cfg.resume = False
        notes.append(f'--resume: no checkpoint in {cfg.work_dir} yet, so training begins')
    return checkpoint


def _run(runner: Runner) -> None:
    """Train.

    Raises:
        InputError: If an operator cannot be deterministic on this device.
    """
    try:
        runner.train()
    except RuntimeError as error:
        if 'deterministic' not in str(error):
            raise
        raise InputError(
            f'--deterministic cannot be kept on this device: {error}\nLeave --deterministic out, '
            'or train on the CPU: CUDA_VISIBLE_DEVICES=-1'
        ) from error


def _train_from_scratch(cfg: Config, notes: list[str]) -> None:
    backbone = cfg.model.backbone
    init_cfg = backbone.get('init_cfg')
    if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
        # Left out, not None: that would switch off the random initialisation of other backbones.
        backbone.pop('init_cfg')
    if 'norm_eval' in backbone:
        backbone.norm_eval = False
    cfg.load_from = None
    notes.append(
        '--from-scratch: no pretrained weights; the norms of the backbone learn their statistics '
        '(norm_eval=False), since frozen untrained ones would be the identity'
    )


def _use_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise InputError('--amp needs a GPU, and torch finds none here; leave it out')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'


def _prepare_data(cfg: Config, data: str | None, notes: list[str]) -> None:
    """Check the data to train on and put own data, where given, into the config."""
    if data is None:
        on_first_rank(lambda: check_datasets(cfg, ('train', 'val')))
        return
    prepared = _put_own_data(cfg, data, SPLITS)
    _fit_schedule(cfg, prepared['train'].summary.num_images, notes)
    counts = '; '.join(
        f'{split.summary.num_images} {name} images, {split.summary.num_objects} objects'
        for name, split in prepared.items()
        if name != 'test' or split is not prepared['val']
    )
    classes = ', '.join(prepared['train'].summary.classes)
    notes.append(f'own data {data}: {counts}; classes {classes}')
    if dropped := prepared['train'].dropped:
        left_out = ', '.join(f'{count} {name}' for name, count in dropped.items())
        notes.append(f'left out of train by classes: {left_out}')


def _put_own_data(
    cfg: Config, data: str, splits: tuple[str, ...], classes: tuple[str, ...] | None = None
) -> dict[str, PreparedSplit]:
    """Check splits of own data on one rank, and put them into the config on every rank."""
    check_reads_coco(cfg)
    described = read_own_data(data)
    prepared = on_first_rank(
        lambda: prepare_own_data(
            described, splits, Path(cfg.work_dir, 'annotations'), needs_masks(cfg), classes
        )
    )
    apply_own_data(cfg, described, prepared, classes)
    return prepared


def _fit_schedule(cfg: Config, num_images: int, notes: list[str]) -> None:
    """Shorten warm-up and log interval where a small set has few iterations."""
    world_size = dist.get_world_size() if dist.is_initialized() else 1
    per_epoch = math.ceil(num_images / (cfg.train_dataloader.batch_size * world_size))
    total = per_epoch * cfg.train_cfg.get('max_epochs', 1)
    for scheduler in cfg.param_scheduler:
        if not scheduler.get('by_epoch', True) and scheduler.get('begin', 0) == 0:
            # A ramp of one step would stay at its start for good.
            limit = max(2, total // 10)
            if scheduler.get('end', 0) > limit:
                notes.append(
                    f'warm-up shortened from {scheduler.end} to {limit} iterations, a tenth of the '
                    f'{total} that this data set has'
                )
                scheduler.end = limit
    cfg.default_hooks.logger.interval = min(
        cfg.default_hooks.logger.get('interval', 10), max(1, per_epoch // 2)
    )


def _log_result(runner: Runner, config: str) -> None:
    """Say where the best checkpoint is and how to evaluate it."""
    checkpoint = runner.message_hub.get_info('best_ckpt') or runner.message_hub.get_info(
        'last_ckpt'
    )
    copied = Path(runner.work_dir, Path(config).name)
    runner.logger.info(f'evaluate the best: python tools/test.py {copied} {checkpoint}')


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
    cfg = _load_config(config, cfg_options, launcher, work_dir)
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
    meta = load_file(checkpoint).get('meta', {})
    classes = (meta.get('dataset_meta') or {}).get('classes')
    if data is not None:
        _put_own_data(cfg, data, ('test',), classes and tuple(classes))
    else:
        on_first_rank(lambda: check_datasets(cfg, ('test',)))
    files, folders = {'--out': out, '--out-pred': out_pred}, {'--analysis': analysis}
    folders['--show-dir'] = show_dir
    on_first_rank(lambda: check_writable(files, folders))

    runner = _build_runner(cfg, [])
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
