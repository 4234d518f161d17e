"""Where a run begins: anew, or exactly where an earlier one stopped."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config

import casvit_mm.engine.loops  # noqa: F401  registers what is named below
from casvit_mm.config.editing import add_hook, dicts_in
from casvit_mm.config.forms import entries, type_name
from casvit_mm.distributed.group import RESUME
from casvit_mm.engine.checkpoints import INTERRUPTED
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.resumed_schedule import check_length
from casvit_mm.errors import InputError
from casvit_mm.weights.reading import load_file

__all__ = [
    'find_checkpoint',
    'load_whole_model',
    'make_resumable',
    'set_initial_weights',
    'set_resume',
]

_NUMBERED = re.compile(r'(epoch|iter)_\d+\.pth')
_CACHING = {'CachedMosaic', 'CachedMixUp'}  # transforms of mmdet
_LOOPS = {'EpochBasedTrainLoop': 'ResumableEpochLoop', 'IterBasedTrainLoop': 'ResumableIterLoop'}


def find_checkpoint(resume: str | None, work_dir: str) -> tuple[str | None, list[str]]:
    """Return the checkpoint to go on from.

    Args:
        resume: A file, ``'auto'`` for the last one in ``work_dir``, or None.
        work_dir: Folder of the run.

    Returns:
        Its path, None if there is nothing to resume or ``resume`` is None; and, if the last one
        cannot be read so that it is an earlier one, what the log should say.

    Raises:
        InputError: If there are checkpoints, or was one, and none can be read.
    """
    if resume != 'auto':
        return resume, []
    try:
        candidates, problems = _newest_first(Path(work_dir))
    except OSError as error:
        raise InputError(f'--resume: {work_dir} cannot be read: {error.strerror}') from error
    for path in candidates:
        try:
            load_file(path)
        except InputError as error:
            problems.append(str(error))
            continue
        if problems:
            problems.append(f'so training goes on from {path}')
        return str(path), [f'--resume: {problem}' for problem in problems]
    if not problems:
        return None, []
    raise InputError(
        '--resume: ' + '\n'.join(problems) + f'\n{work_dir} has no other checkpoint to go on from. '
        'Name one (--resume CKPT), or start anew without --resume.'
    )


def _newest_first(work_dir: Path) -> tuple[list[Path], list[str]]:
    """Return the checkpoints of a run that may be gone on from, and what is wrong with their list.

    Raises:
        OSError: If the folder cannot be read.
    """
    pointer, problems = work_dir / 'last_checkpoint', []
    numbered = [path for path in work_dir.glob('*_*.pth') if _NUMBERED.fullmatch(path.name)]
    found = sorted(numbered, key=lambda path: int(path.stem.rpartition('_')[2]), reverse=True)
    # It is removed as soon as there is a newer one.
    found = [path for path in (work_dir / INTERRUPTED, *found) if path.is_file()]
    if not pointer.is_file():
        if found:
            problems.append(f'{pointer} is missing')
        return found, problems
    text = pointer.read_bytes().decode(errors='replace').strip()
    if not text.isprintable() or not 0 < len(text) < 4096:
        return found, [f'{pointer} is {"damaged" if text else "empty"}']
    # The work dir may have been moved since.
    named = [path for path in (Path(text), pointer.with_name(Path(text).name)) if path.is_file()]
    if not named:
        problems.append(f'{pointer} names {text}, which does not exist')
    return [*named[:1], *(path for path in found if path not in named)], problems


def set_initial_weights(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--from-scratch`` or ``--pretrained`` into a config, in place.

    With ``--finetune`` only the pretrained weights of the backbone are left out here;
    :func:`casvit_mm.engine.finetune.finetune_from` needs the classes of the data.

    Returns:
        What the log should say.

    Raises:
        InputError: If two places to start from are named.
    """
    if options.start.from_scratch:
        if (options.cfg_options or {}).get('load_from'):
            raise InputError('--from-scratch and load_from name two places to start from')
        return [_leave_out_pretrained(cfg)]
    if options.start.pretrained is not None:
        checkpoint = options.start.pretrained
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
        cfg.load_from = None
    if options.start.finetune is not None:
        cfg.model.backbone.init_cfg = None
    return []


def _leave_out_pretrained(cfg: Config) -> str:
    backbone = cfg.model.backbone
    init_cfg = backbone.get('init_cfg')
    if isinstance(init_cfg, dict) and type_name(init_cfg) == 'Pretrained':
        # Left out, not None: that would switch off the random initialisation of other backbones.
        backbone.pop('init_cfg')
    if 'norm_eval' in backbone:
        backbone.norm_eval = False
    cfg.load_from = None
    return (
        '--from-scratch: no pretrained weights; the norms of the backbone learn their statistics '
        '(norm_eval=False), since frozen untrained ones would be the identity'
    )


def set_resume(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--resume``, or the ``resume`` of a config itself, into a config, in place.

    A run that its launcher or scheduler starts again resumes without being asked.

    Afterwards ``cfg.resume`` says whether there is a checkpoint to go on from.

    Returns:
        What the log should say.

    Raises:
        InputError: As :func:`find_checkpoint`, or if the checkpoint cannot be resumed from.
    """
    resume = options.start.resume
    if os.environ.get(RESUME) == 'auto':
        if resume not in (None, 'auto'):
            raise InputError(
                f'--resume {resume}: a run that starts again by itself goes on from the last '
                'checkpoint of its work dir. Leave the file out, with --work-dir '
                f'{Path(resume).parent}'
            )
        resume = 'auto'
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    checkpoint, notes = find_checkpoint(resume, cfg.work_dir)
    if checkpoint is not None:
        return notes + _resume_from(cfg, checkpoint)
    if resume is None:
        return []
    cfg.resume = False
    notes = [f'--resume: no checkpoint in {cfg.work_dir} yet, so training begins']
    older = Path(cfg.work_dir).with_name(Path(cfg.filename).stem)
    if options.data and not options.work_dir and Path(older, 'last_checkpoint').is_file():
        # Before version 0.2 the name of a work dir did not have that of the data.
        notes.append(f'--resume: there is a run in {older}; to go on with that: --work-dir {older}')
    return notes


def _resume_from(cfg: Config, path: str) -> list[str]:
    """Go on from a checkpoint, with the seed of the run that wrote it; return notes for the log.

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
    notes = []
    notes += check_length(cfg, content, path)
    notes += _name_caches(cfg, content)
    seed, asked = content.get('meta', {}).get('seed'), cfg.randomness.get('seed')
    if seed is not None:
        if asked not in (None, seed):
            notes.append(f'--seed {asked} is not used: the resumed run has seed {seed}')
        cfg.randomness.seed = seed
    if cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None  # the pretrained file is no longer needed
    cfg.resume, cfg.load_from = True, path
    return notes


def _name_caches(cfg: Config, content: dict[str, Any]) -> list[str]:
    """Return what the log should say of images that the interrupted run had kept to mix with."""
    caching = {type_name(step) for step in dicts_in(cfg.get('train_dataloader'))} & _CACHING
    epoch = content.get('meta', {}).get('epoch', 0)
    for hook in entries(cfg, 'custom_hooks'):
        if type_name(hook) == 'PipelineSwitchHook' and hook.switch_epoch <= epoch:
            return []
    if not caching:
        return []
    return [
        f'--resume: {" and ".join(sorted(caching))} mix images with earlier ones, which no '
        'checkpoint holds; they begin with none, so that the result will not equal that of an '
        'unbroken run'
    ]


def load_whole_model(cfg: Config) -> None:
    """Read the file of a whole model's ``init_cfg`` as ``load_from``, in place.

    ``load_from`` is strict, where MMEngine's initialisation only warns. A file for the backbone
    alone is not needed then.
    """
    model = cfg.get('model', {})
    init_cfg = model.get('init_cfg')
    if isinstance(init_cfg, dict) and type_name(init_cfg) == 'Pretrained' and len(init_cfg) == 2:
        cfg.load_from = cfg.get('load_from') or init_cfg['checkpoint']
        model.pop('init_cfg')
    backbone = model.get('backbone', {})
    if cfg.get('load_from') and type_name(backbone.get('init_cfg')) == 'Pretrained':
        # Left out, not None: that would switch off the random initialisation of other backbones.
        backbone.pop('init_cfg')


def make_resumable(cfg: Config, options: TrainOptions) -> list[str]:
    """Give a config the loop and the hooks that a run goes on by exactly, in place.

    Training loops that are not MMEngine's own stay as they are.

    Raises:
        InputError: If ``--save-every`` is no time, or the config saves by a hook of its own.
    """
    loop = cfg.train_cfg
    if 'by_epoch' in loop:
        loop.type = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
    loop.type = _LOOPS.get(type_name(loop), loop.type)
    if 'checkpoint' not in cfg.default_hooks:
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook')
    checkpoint = cfg.default_hooks.checkpoint
    if checkpoint is not None and type_name(checkpoint) == 'CheckpointHook':
        checkpoint.type = 'SafeCheckpointHook'
    if options.save_minutes is not None:
        if not options.save_minutes > 0:
            raise InputError(
                f'--save-every must be a number of minutes above 0, got {options.save_minutes}'
            )
        if type_name(checkpoint) != 'SafeCheckpointHook' or not loop.type.startswith('Resumable'):
            raise InputError(
                '--save-every needs the CheckpointHook and a training loop of MMEngine; '
                f'{cfg.filename} has others'
            )
        checkpoint.save_minutes = options.save_minutes
    add_hook(cfg, 'ResumedScheduleHook')
    return []
