"""Training with MMEngine's Runner, as ``casvit-mm train`` runs it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import MODELS
from mmengine.runner import Runner

from casvit_mm.config.building import build_untrained
from casvit_mm.config.checks import check_backbone, check_pretrained
from casvit_mm.config.class_counts import check_class_counts
from casvit_mm.config.editing import add_hook
from casvit_mm.config.forms import takes_argument, type_of
from casvit_mm.config.type_checks import explaining_build_errors
from casvit_mm.config.value_checks import check_groups
from casvit_mm.console import step
from casvit_mm.datasets.description import SPLITS
from casvit_mm.distributed.group import init_distributed, on_first_rank
from casvit_mm.engine.batch_size import set_largest_batch
from casvit_mm.engine.data_loading import dead_workers_told
from casvit_mm.engine.finetune import finetune_from, training_classes
from casvit_mm.engine.loggers import add_loggers
from casvit_mm.engine.metric_checks import check_metrics
from casvit_mm.engine.micro_batches import keep_images_per_step
from casvit_mm.engine.next_commands import after_training, as_text
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.packing import read_packed
from casvit_mm.engine.precision import warn_of_slow_precision
from casvit_mm.engine.profiling import profile_instead_of_training
from casvit_mm.engine.progress import showing_progress
from casvit_mm.engine.recipe import set_recipe
from casvit_mm.engine.resume import make_resumable, set_initial_weights, set_resume
from casvit_mm.engine.run_lock import claim_work_dir, release_work_dir
from casvit_mm.engine.schedule import scale_learning_rate, shorten_warm_up, stretch_schedule
from casvit_mm.engine.seeding import set_randomness
from casvit_mm.engine.setup import build_runner, load_config
from casvit_mm.engine.speed import (
    check_compiler,
    set_channels_last,
    set_compilation,
    set_precision,
)
from casvit_mm.engine.step_errors import explaining_steps
from casvit_mm.engine.tasks import task_of
from casvit_mm.errors import InputError
from casvit_mm.ops.needs import check_operators

__all__ = ['train']


def train(config: str, options: TrainOptions | None = None) -> Runner:
    """Train a config.

    Args:
        config: Config file.
        options: What is asked for beside it; see :class:`~casvit_mm.engine.options.TrainOptions`.

    Returns:
        The Runner, after training or profiling.

    Raises:
        InputError: If anything the user gave cannot work, before training starts; if another
            training runs in the work dir; or if a checkpoint cannot be written.
        SystemExit: With status 143 after SIGTERM, 130 after Ctrl-C and 129 after SIGHUP, when the
            state of the run is saved.
    """
    options = options or TrainOptions()
    with step('reading the config'):
        cfg = load_config(
            config,
            ('train', 'val'),
            options.cfg_options,
            options.launcher,
            options.work_dir,
            options.data,
        )
    check_groups(cfg, ('train_dataloader', 'train_cfg', 'optim_wrapper'))
    try:
        notes = [note for edit in EDITS for note in edit(cfg, options)]
        with explaining_build_errors(cfg):
            runner = build_runner(cfg, notes)
        with explaining_build_errors(cfg), explaining_steps(runner):
            _run(runner)
    finally:
        release_work_dir()
    if options.profile_data is None:
        _log_next(runner, config, options.data)
    return runner


def _start_processes(cfg: Config, options: TrainOptions) -> list[str]:
    """Start the process group; from here on rank 0 checks for all."""
    init_distributed(cfg)
    if cfg.launcher != 'none':
        # Each process keeps running statistics of its own images; evaluate their mean.
        add_hook(cfg, 'AverageBuffersHook')
    return []


def _synchronise_on_gpus_alone(cfg: Config, options: TrainOptions) -> list[str]:
    """Keep mmdet's RTMDet from making all its norms torch's SyncBatchNorm, which refuses CPUs."""
    detector = type_of(cfg, MODELS, cfg.model)
    if not torch.cuda.is_available() and detector and takes_argument(detector, 'use_syncbn'):
        cfg.model.use_syncbn = False
    return []


def _set_largest_batch(cfg: Config, options: TrainOptions) -> list[str]:
    return set_largest_batch(cfg, options, train)


def _check_model(cfg: Config, options: TrainOptions) -> list[str]:
    """Check backbone, compiler and pretrained weights, which is faster than checking the data."""

    def check() -> None:
        check_backbone(cfg)
        if options.speed.compile_backbone:
            check_compiler()
        check_pretrained(cfg)

    with step('checking the model'):
        on_first_rank(check)
    return []


def _set_data(cfg: Config, options: TrainOptions) -> list[str]:
    """Check the data to train on, and put ``--data`` into the config."""
    with step(f'reading and checking the data{f" of {options.data}" if options.data else ""}'):
        task = task_of(cfg)
        if options.data is None:
            task.check_datasets(cfg, ('train', 'val'))
            on_first_rank(lambda: check_metrics(cfg, task, 'val'))
            return []
        # Without validation MMEngine takes None for its dataloader.
        splits = ('train', *(name for name in SPLITS[1:] if cfg.get(f'{name}_dataloader')))
        num_images, described = task.apply_dataset(cfg, options.data, splits)
        on_first_rank(lambda: check_metrics(cfg, task, 'val'))  # some depend on the classes
    return [*shorten_warm_up(cfg, num_images), *described]


def _check_built_model(cfg: Config, options: TrainOptions) -> list[str]:
    """Check what only the model itself tells: its operators, and its classes with ``--data``."""

    def check() -> None:
        model = build_untrained(cfg)
        check_operators(model, cfg.filename, torch.cuda.is_available())
        if options.data is not None:
            check_class_counts(model, cfg.filename, len(training_classes(cfg)))

    with step('checking that model and data fit'):
        on_first_rank(check)
    return []


# Everything that training changes in a config after load_config, in this order. An edit reads its
# options, changes the config in place, and returns what the log should say.
EDITS: tuple[Callable[[Config, TrainOptions], list[str]], ...] = (
    profile_instead_of_training,  # moves the work dir, where --resume looks
    set_randomness,
    set_initial_weights,
    set_resume,  # a checkpoint has its own seed and weights
    make_resumable,
    set_precision,
    set_channels_last,
    set_compilation,
    add_loggers,
    set_recipe,
    stretch_schedule,
    _start_processes,
    _synchronise_on_gpus_alone,
    claim_work_dir,  # rank 0 does for all
    _set_largest_batch,
    keep_images_per_step,
    scale_learning_rate,  # by the number of processes
    _check_model,
    warn_of_slow_precision,
    _set_data,
    read_packed,
    _check_built_model,  # with the classes of the data
    finetune_from,  # compares the classes of the data
)


# A disk that is full, read-only, broken or gone.
_STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


def _run(runner: Runner) -> None:
    """Train.

    Raises:
        InputError: If an operator cannot be deterministic on this device, or a file cannot be
            written any more.
    """
    try:
        with showing_progress(runner), dead_workers_told():
            runner.train()
    except OSError as error:
        if error.errno not in _STORAGE_ERRORS:
            raise
        raise InputError(
            f'cannot go on: {error.filename or "its files"}: {error.strerror}. The checkpoints in '
            f'{runner.work_dir} are as they were; then run the same command with --resume'
        ) from error
    except RuntimeError as error:
        if 'deterministic' not in str(error):
            raise
        raise InputError(
            f'--deterministic cannot be kept on this device: {error}\nLeave --deterministic out, '
            'or train on the CPU: CUDA_VISIBLE_DEVICES=-1'
        ) from error


def _log_next(runner: Runner, config: str, data: str | None) -> None:
    """Say what to do with the best checkpoint."""
    # A run that was resumed elsewhere may still name the best one by the path that it had.
    found = map(runner.message_hub.get_info, ('best_ckpt', 'last_ckpt'))
    checkpoint = next((path for path in found if path and Path(path).is_file()), None)
    if is_main_process() and checkpoint:
        copied = str(Path(runner.work_dir, Path(runner.cfg.filename).name))
        here = f'{Path.cwd()}/'  # the Runner makes paths absolute
        files = copied.removeprefix(here), checkpoint.removeprefix(here)
        runner.logger.info(as_text(after_training(*files, data)))
