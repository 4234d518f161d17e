"""Training with MMEngine's Runner, as ``tools/train.py`` runs it."""

from __future__ import annotations

import math
from pathlib import Path

import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm.config.checks import check_backbone, check_pretrained
from casvit_mm.config.editing import add_hook
from casvit_mm.datasets.description import SPLITS
from casvit_mm.distributed import init_distributed, on_first_rank
from casvit_mm.engine.finetune import finetune_from
from casvit_mm.engine.profiling import profile_instead_of_training
from casvit_mm.engine.resume import find_checkpoint, make_deterministic, make_resumable, resume_from
from casvit_mm.engine.scaling import scale_learning_rate
from casvit_mm.engine.setup import build_runner, load_config
from casvit_mm.engine.speed import check_compiler, set_precision, speed_up
from casvit_mm.engine.tasks import task_of
from casvit_mm.errors import InputError

__all__ = ['train']


def train(
    config: str,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    bf16: bool = False,
    channels_last: bool = False,
    compile_backbone: bool = False,
    auto_scale_lr: bool = False,
    from_scratch: bool = False,
    pretrained: str | None = None,
    finetune: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    tensorboard: bool = False,
    profile_data: int | None = None,
    cfg_options: dict | None = None,
    launcher: str = 'none',
) -> Runner:
    """Train a config.

    Args:
        config: Config file.
        work_dir: Folder for logs and checkpoints; ``work_dirs/<config>`` if None.
        resume: Checkpoint to go on from, or ``'auto'`` for the last one in ``work_dir``, if any.
        amp: Mixed precision (GPU only).
        bf16: Mixed precision with bfloat16, also on a CPU; see :mod:`casvit_mm.engine.speed`.
        channels_last: Keep the weights in the order that convolutions read fastest.
        compile_backbone: Compile the backbone with ``torch.compile``.
        auto_scale_lr: Scale the learning rate linearly with the total batch size, also where the
            config does not ask for it.
        from_scratch: Train without pretrained weights, with the backbone's norms learning.
        pretrained: File of weights for the backbone, e.g. of our own pretraining, instead of the
            one that the config names.
        finetune: Trained model to start from, whatever its classes; see
            :mod:`casvit_mm.engine.finetune`. Where ``resume`` finds a checkpoint, that goes first.
        data: ``dataset.yaml`` of own data; see :mod:`casvit_mm.datasets.description`.
        seed: Random seed; drawn and logged if None.
        deterministic: Only operators that give the same result every time.
        tensorboard: Also write a TensorBoard event file.
        profile_data: Batches to time; instead of training, tells whether reading the data or
            computing the model is the limit. See :mod:`casvit_mm.engine.profiling`.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        The Runner, after training or profiling.

    Raises:
        InputError: If anything the user gave cannot work, before training starts; or if a
            checkpoint cannot be written.
        SystemExit: With status 143 after SIGTERM, when the state of the run is saved.
    """
    _refuse_two_starts(resume, from_scratch, pretrained, finetune)
    cfg = load_config(config, cfg_options, launcher, work_dir)
    if profile_data is not None:
        profile_instead_of_training(cfg, profile_data)
    cfg.randomness = dict(seed=seed, deterministic=deterministic)
    if deterministic:
        make_deterministic(cfg)
    notes: list[str] = []
    if from_scratch:
        _train_from_scratch(cfg, notes)
    if pretrained is not None:
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        cfg.load_from = None
    checkpoint = _start(cfg, resume, notes)
    make_resumable(cfg)
    set_precision(cfg, notes, amp=amp, bf16=bf16)
    speed_up(cfg, channels_last=channels_last, compile_backbone=compile_backbone)
    if tensorboard:
        cfg.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))

    _fit_iterations(cfg, notes)
    init_distributed(cfg)
    scale_learning_rate(cfg, auto_scale_lr, cfg_options, notes)
    if cfg.launcher != 'none':
        # Each process keeps running statistics of its own images; evaluate their mean.
        add_hook(cfg, 'AverageBuffersHook')
    on_first_rank(lambda: check_backbone(cfg))
    if compile_backbone:
        on_first_rank(check_compiler)
    if checkpoint is None and finetune is None:
        on_first_rank(lambda: check_pretrained(cfg))
    _prepare_data(cfg, data, notes)
    if checkpoint is None and finetune is not None:
        finetune_from(cfg, finetune, notes)
    runner = build_runner(cfg, notes)
    _run(runner)
    if profile_data is None:
        _log_result(runner, config)
    return runner


def _refuse_two_starts(
    resume: str | None, from_scratch: bool, pretrained: str | None, finetune: str | None
) -> None:
    starts = {
        f'--pretrained {pretrained}': pretrained is not None,
        f'--finetune {finetune}': finetune is not None,
        '--from-scratch': from_scratch,
        # With the others, it is the same command once more.
        f'--resume {resume}': finetune is not None and resume not in (None, 'auto'),
    }
    given = [option for option, is_given in starts.items() if is_given]
    if len(given) > 1:
        raise InputError(f'{" and ".join(given)} name two places to start from')


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


def _prepare_data(cfg: Config, data: str | None, notes: list[str]) -> None:
    """Check the data to train on and put own data, where given, into the config."""
    task = task_of(cfg)
    if data is None:
        on_first_rank(lambda: task.check_datasets(cfg, ('train', 'val')))
        return
    num_images, described = task.put_own_data(cfg, data, SPLITS)
    _fit_schedule(cfg, num_images, notes)
    notes += described


def _fit_iterations(cfg: Config, notes: list[str]) -> None:
    """Stretch the schedule of a run by iterations to its length, which an option may have changed.

    Otherwise the rate of a shorter run would hardly fall, and that of a longer one stay at its end.
    """
    schedulers = [s for s in cfg.param_scheduler if not s.get('by_epoch', True)]
    planned = max((s.get('end', 0) for s in schedulers), default=0)
    total = cfg.train_cfg.get('max_iters', planned)
    if planned in (0, total):
        return
    for scheduler in schedulers:
        for key in ('begin', 'end'):
            if scheduler.get(key):
                # A ramp of one step would stay at its start for good.
                scheduler[key] = max(2, round(scheduler[key] * total / planned))
    notes.append(f'learning rate: the schedule of {planned} iterations is brought to {total}')


def _fit_schedule(cfg: Config, num_images: int, notes: list[str]) -> None:
    """Shorten warm-up and log interval where a small set has few iterations."""
    if 'max_epochs' not in cfg.train_cfg:
        return
    world_size = dist.get_world_size() if dist.is_initialized() else 1
    per_epoch = math.ceil(num_images / (cfg.train_dataloader.batch_size * world_size))
    total = per_epoch * cfg.train_cfg.max_epochs
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
