"""Where a run begins: anew, or exactly where an earlier one stopped."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config

import casvit_mm.engine.checkpoints
import casvit_mm.engine.loops  # noqa: F401  both register what is named below
from casvit_mm.errors import InputError
from casvit_mm.weights.reading import load_file

__all__ = [
    'find_checkpoint',
    'load_whole_model',
    'make_deterministic',
    'make_resumable',
    'resume_from',
]

_LOOPS = {'EpochBasedTrainLoop': 'ResumableEpochLoop', 'IterBasedTrainLoop': 'ResumableIterLoop'}


def find_checkpoint(resume: str | None, work_dir: str) -> str | None:
    """Return the checkpoint to go on from.

    Args:
        resume: A file, ``'auto'`` for the last one in ``work_dir``, or None.
        work_dir: Folder of the run.

    Returns:
        Its path; None if there is nothing to resume or ``resume`` is None.

    Raises:
        InputError: If the last checkpoint was removed.
    """
    if resume != 'auto':
        return resume
    pointer = Path(work_dir, 'last_checkpoint')
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text().strip())
    # The work dir may have been moved since.
    for path in (named, pointer.with_name(named.name)):
        if path.is_file():
            return str(path)
    raise InputError(
        f'--resume: {pointer} names {named}, which does not exist. Name a checkpoint to go on from '
        f'(--resume CKPT), or remove {pointer} to start anew.'
    )


def resume_from(cfg: Config, path: str, notes: list[str]) -> None:
    """Make a config go on from a checkpoint, with the seed of the run that wrote it.

    Args:
        cfg: The config, changed in place.
        path: The checkpoint.
        notes: Takes what the log should say.

    Raises:
        InputError: If the file cannot be read, or holds weights without the state of the training.
    """
    content = load_file(path)
    if not {'optimizer', 'message_hub'} <= set(content):
        raise InputError(
            f'--resume: {path} holds weights without the state of the optimizer, as best and '
            'published files do. Go on from the last checkpoint (--resume without a file), or '
            f'start a new training from these weights: --finetune {path}'
        )
    seed, asked = content.get('meta', {}).get('seed'), cfg.randomness.get('seed')
    if seed is not None:
        if asked not in (None, seed):
            notes.append(f'--seed {asked} is not used: the resumed run has seed {seed}')
        cfg.randomness.seed = seed
    if cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None  # the pretrained file is no longer needed
    cfg.resume, cfg.load_from = True, path


def load_whole_model(cfg: Config) -> None:
    """Read the file of a whole model's ``init_cfg`` as ``load_from``, in place.

    ``load_from`` is strict, where MMEngine's initialisation only warns. A file for the backbone
    alone is not needed then.
    """
    model = cfg.get('model', {})
    init_cfg = model.get('init_cfg')
    if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained' and len(init_cfg) == 2:
        cfg.load_from = cfg.get('load_from') or init_cfg['checkpoint']
        model.pop('init_cfg')
    backbone = model.get('backbone', {})
    if cfg.get('load_from') and (backbone.get('init_cfg') or {}).get('type') == 'Pretrained':
        # Left out, not None: that would switch off the random initialisation of other backbones.
        backbone.pop('init_cfg')


def make_resumable(cfg: Config) -> None:
    """Give a config the loop and the checkpoints that a run goes on from exactly, in place.

    Training loops that are not MMEngine's own stay as they are.
    """
    loop = cfg.train_cfg
    if 'by_epoch' in loop:
        loop.type = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
    loop.type = _LOOPS.get(loop.type, loop.type)
    if 'checkpoint' not in cfg.default_hooks:
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook')
    checkpoint = cfg.default_hooks.checkpoint
    if checkpoint is not None and checkpoint.type == 'CheckpointHook':
        checkpoint.type = 'SafeCheckpointHook'
    for name in ('train_dataloader', 'val_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('worker_init_fn', dict(type='outlive_sigterm'))


def make_deterministic(cfg: Config) -> None:
    """Add to a config what ``randomness.deterministic`` does not do by itself, in place."""
    # cuBLAS reads this when it starts; without it torch refuses its matrix products.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    # Otherwise DDP regroups the gradients after the first iteration of a run, also of a resumed
    # one, and three processes or more then add them up in another order.
    cfg.find_unused_parameters = True
