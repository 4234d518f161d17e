"""The largest batch that fits into memory, measured: ``--batch auto``."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size

from casvit_mm.console import say
from casvit_mm.distributed.group import on_first_rank
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.subprocesses import run_once
from casvit_mm.errors import InputError
from casvit_mm.io import write_json
from casvit_mm.models.memory import available_memory, lacks_memory

__all__ = ['largest_batch', 'set_largest_batch']

# Images differ in size from batch to batch, and memory breaks into pieces.
_SHARE = 0.8
# Iterations that an epoch keeps under a batch larger than the config's: a small data set is not to
# be one batch.
_STEPS = 20
_GIB = 2**30
_Train = Callable[[str, TrainOptions], object]
_FILE = 'batch_size.json'  # in the work dir


def set_largest_batch(cfg: Config, options: TrainOptions, train: _Train) -> list[str]:
    """With ``--batch auto``, put the largest batch that fits into a config, in place.

    Rank 0 measures for all, in processes of their own, by two batches and one that confirms what
    follows from them. A resumed run takes what was measured when it began. The processes must have
    been started.

    Args:
        cfg: The config.
        options: Of the training; ``recipe.batch`` is read, the others go into the measurements.
        train: Trains a config, with options.

    Returns:
        What the log should say.

    Raises:
        InputError: If not even one image fits, or the training cannot begin for another reason.
    """
    if options.recipe.batch != 'auto' or options.profile_data is not None:
        return []
    batch, note = on_first_rank(lambda: _remembered(cfg) or _measured(cfg, options, train))
    cfg.train_dataloader.batch_size = batch
    return [note]


def _remembered(cfg: Config) -> tuple[int, str] | None:
    path = Path(cfg.work_dir, _FILE)
    if not (cfg.get('resume') and path.is_file()):
        return None
    batch = json.loads(path.read_text())['batch']
    return batch, f'--batch auto: {batch} images per step of a process, as when this run began'


def _measured(cfg: Config, options: TrainOptions, train: _Train) -> tuple[int, str]:
    # Processes of a CPU host share its memory; each GPU has its own.
    sharing = 1 if torch.cuda.is_available() else int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    room = int(_SHARE * available_memory()) // sharing
    with tempfile.TemporaryDirectory() as folder:
        measure = _Measurement(train, cfg.filename, options, Path(folder))
        first = cfg.train_dataloader.batch_size
        batch, taken = largest_batch(
            measure, first, room, lambda: measure.images // (_STEPS * get_world_size())
        )
    write_json(Path(cfg.work_dir, _FILE), dict(batch=batch, bytes=taken))
    return batch, (
        f'--batch auto: {batch} images per step of a process take {taken / _GIB:.1f} of '
        f'{room / _GIB:.1f} GiB ({_SHARE:.0%} of what is free); beyond the {first} of the config '
        f'an epoch keeps {_STEPS} iterations'
    )


def largest_batch(
    measure: Callable[[int], int | None], first: int, room: int, most: Callable[[], int]
) -> tuple[int, int]:
    """Return the largest batch that fits, and the bytes it takes.

    Args:
        measure: Returns the bytes that a training takes with so many images, None if too many.
        first: That of the config, to begin with.
        room: Bytes that there are.
        most: Returns the largest batch that is wanted beyond ``first``; asked after the first
            measurement.

    Raises:
        InputError: If not even one image fits.
    """

    def fitting(batch: int) -> int | None:
        taken = measure(batch)
        return taken if taken is not None and taken <= room else None

    small = first
    while (taken := fitting(small)) is None:
        if small == 1:
            raise InputError(
                f'--batch auto: not even one image fits into {room / _GIB:.1f} GiB. Take smaller '
                'images, a smaller model, or --amp on a GPU'
            )
        small //= 2
    limit = max(first, most())
    if small >= limit or small < first:
        return small, taken
    double = min(2 * small, limit)
    if (more := fitting(double)) is None:
        return small, taken
    per_image = max(1, (more - taken) // (double - small))
    best, of_best = double, more
    guess = min(limit, double + (room - more) // per_image)
    for _ in range(3):
        if guess <= best:
            break
        if (found := fitting(guess)) is not None:
            return guess, found
        guess = best + (guess - best) // 2
    return best, of_best


class _Measurement:
    """The memory of a training by batch, and the images of its data set, once one was measured."""

    images = 0

    def __init__(self, train: _Train, config: str, options: TrainOptions, folder: Path) -> None:
        self._train = train
        self._config, self._options, self._folder = config, options, folder

    def __call__(self, batch: int) -> int | None:
        """Return the bytes that a training takes; None if they are not there."""
        say(f'--batch auto: measuring {batch} images per step')
        work_dir = self._folder / f'--batch {batch}'
        recipe = dataclasses.replace(self._options.recipe, batch=batch)
        options = dataclasses.replace(
            self._options,
            recipe=recipe,
            work_dir=str(work_dir),
            profile_data=2,
            loggers=(),
            launcher='none',
        )
        found = run_once(
            work_dir / 'profile/profile.json', _profile, self._train, self._config, options
        )
        self.images = found.get('images', self.images)
        return found['total_bytes']


def _profile(train: _Train, config: str, options: TrainOptions) -> None:
    """Measure a training; say so in place of the measurement if memory does not suffice."""
    log = Path(str(options.work_dir), 'log.txt')
    log.parent.mkdir(parents=True)
    with log.open('w') as file:
        terminal = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            train(config, options)
        except (InputError, RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            nothing: dict[str, Any] = dict(total_bytes=None)
            write_json(log.parent / 'profile/profile.json', nothing)
        finally:
            for number, kept in zip((1, 2), terminal, strict=True):
                os.dup2(kept, number)
