"""What limits a training: reading the data or computing the model. ``--profile-data`` asks this."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.table import Table
from torch.utils.data import DataLoader

from casvit_mm.config.forms import entries
from casvit_mm.console import paused
from casvit_mm.engine.options import TrainOptions
from casvit_mm.errors import InputError
from casvit_mm.io import write_json
from casvit_mm.models.memory import peak_of_call
from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['ProfileHook', 'Throughput', 'advise', 'profile_instead_of_training']

# Batches that the model is timed on, in turn: images and batches may vary in size.
_KEPT = 6


def profile_instead_of_training(cfg: Config, options: TrainOptions) -> list[str]:
    """With ``--profile-data``, make a config time data loader and model, and end without training.

    Logs and ``profile.json`` go into ``profile`` in the work dir, so that a run which is there
    stays as it is.

    Raises:
        InputError: If the number of batches is not positive.
    """
    batches = options.profile_data
    if batches is None:
        return []
    if batches < 1:
        raise InputError(f'--profile-data needs at least 1 batch, got {batches}')
    cfg.work_dir = str(Path(cfg.work_dir, 'profile'))
    cfg.default_hooks.checkpoint = None
    cfg.custom_hooks = [*entries(cfg, 'custom_hooks'), dict(type='ProfileHook', batches=batches)]
    return []


@dataclass(frozen=True)
class Throughput:
    """What was measured, over all processes.

    Attributes:
        images: Images that were read or trained on.
        batches: Batches of one process that they were in.
        seconds: Time of the slowest process.
    """

    images: int
    batches: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images per second of all processes together."""
        return self.images / max(self.seconds, 1e-9)

    @property
    def milliseconds(self) -> float:
        """Time of one batch."""
        return 1000 * self.seconds / self.batches


@HOOKS.register_module()
class ProfileHook(Hook):
    """Time the data loader and the training step, each alone, print both and end the run.

    What comes first is not counted: batches that the workers prepare ahead, and the first steps,
    in which operators are chosen and compiled.

    Args:
        batches: Batches to time, each way.
    """

    priority = 'LOWEST'  # after CompileHook

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def before_train(self, runner: Runner) -> None:
        """Measure time and memory, print, and let the loop end before its first iteration."""
        loader = runner.train_dataloader
        runner.logger.info(f'timing {self.batches} batches of the data loader, then of the model')
        kept, reading = _time_loader(loader, self.batches)
        training = _time_model(runner, kept, self.batches)
        memory = _peak_of_step(runner, kept)
        if is_main_process():
            weights = sum(one.numel() * one.element_size() for one in runner.model.parameters())
            with paused():
                _print(reading, training, loader.num_workers, kept)
                _print_memory(memory, weights)
            _write(Path(runner.work_dir, 'profile.json'), reading, training, memory, runner)
        runner.train_loop.stop_training = True


def _endless(loader: DataLoader) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def _time_loader(loader: DataLoader, batches: int) -> tuple[list[Any], Throughput]:
    """Return a few batches, and how fast the loader gives them while nothing else is done."""
    stream = _endless(loader)
    ahead = loader.num_workers * (loader.prefetch_factor or 0)
    for _ in range(max(ahead, 1)):
        next(stream)
    start = time.perf_counter()
    kept: list[Any] = []
    images = 0
    for batch in itertools.islice(stream, batches):
        images += len(batch['inputs'])
        kept = [*kept[1 - _KEPT :], batch]
    return kept, _together(images, batches, time.perf_counter() - start)


def _time_model(runner: Runner, kept: list[Any], batches: int) -> Throughput:
    """Return how fast the model is trained on batches that are there already."""
    model, optim_wrapper = runner.model, runner.optim_wrapper
    model.train()
    for batch in (kept * 3)[: max(3, len(kept))]:
        model.train_step(batch, optim_wrapper=optim_wrapper)
    _finish_work()
    start = time.perf_counter()
    images = 0
    for batch in itertools.islice(itertools.cycle(kept), batches):
        model.train_step(batch, optim_wrapper=optim_wrapper)
        images += len(batch['inputs'])
    _finish_work()
    return _together(images, batches, time.perf_counter() - start)


def _peak_of_step(runner: Runner, kept: list[Any]) -> int:
    """Return the bytes that a step takes for the largest of some batches."""
    largest = max(kept, key=lambda batch: sum(image.numel() for image in batch['inputs']))
    step = partial(runner.model.train_step, largest, optim_wrapper=runner.optim_wrapper)
    return peak_of_call(step, get_device())


def _finish_work() -> None:
    """Wait for the GPU, which takes work faster than it does it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _together(images: int, batches: int, seconds: float) -> Throughput:
    """Return the throughput of all processes from that of this one."""
    total, slowest = torch.tensor(images), torch.tensor(seconds)
    all_reduce(total, op='sum')
    all_reduce(slowest, op='max')
    return Throughput(int(total), batches, float(slowest))


def _print(reading: Throughput, training: Throughput, workers: int, kept: list[Any]) -> None:
    table = Table(title='throughput', title_justify='left')
    for column in ('', 'images/s', 'ms per batch'):
        table.add_column(column, justify='right' if column else 'left')
    for name, measured in (
        (f'data loader, {workers} worker{"s" * (workers != 1)}', reading),
        ('model, training step', training),
    ):
        table.add_row(name, f'{measured.images_per_second:.1f}', f'{measured.milliseconds:.1f}')
    console = LiteralConsole()
    console.print(table)
    console.print(advise(reading, training, workers, _cpus(), _sides(kept)), soft_wrap=True)


def _write(
    path: Path, reading: Throughput, training: Throughput, memory: int, runner: Runner
) -> None:
    """Write what was measured, over all processes; memory is that of one.

    All bytes are those of a step, and of what is there between steps: weights, and what the
    optimizer holds.
    """
    loader, model = (
        dict(images_per_second=one.images_per_second, ms_per_batch=one.milliseconds)
        for one in (reading, training)
    )
    held = [*runner.model.parameters(), *runner.model.buffers()]
    optimizer = runner.optim_wrapper.optimizer
    held += [v for state in optimizer.state.values() for v in state.values()]
    between = sum(one.numel() * one.element_size() for one in held if torch.is_tensor(one))
    found = dict(loader=loader, model=model, processes=get_world_size(), bytes=memory)
    found['total_bytes'] = memory + between
    found['images'] = len(runner.train_dataloader.dataset)
    write_json(path, found)


def _print_memory(step: int, weights: int) -> None:
    LiteralConsole().print(
        f'A training step takes {step / 2**20:.0f} MiB at most, for the largest of these batches, '
        f'beside {weights / 2**20:.0f} MiB of weights and what the optimizer holds.',
        soft_wrap=True,
    )


def _cpus() -> int:
    """Return this process's share of the CPU cores."""
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE', 1)))


def _sides(kept: list[Any]) -> tuple[float, float] | None:
    """Return the mean side in pixels of the images in their files and as the model gets them.

    The side of an image is that of the square of its area. None if the samples do not say.
    """
    metas = [sample.metainfo for batch in kept for sample in batch.get('data_samples', [])]
    if not metas or any('ori_shape' not in meta or 'img_shape' not in meta for meta in metas):
        return None
    stored, read = (
        float(np.mean([np.prod(meta[key][:2]) ** 0.5 for meta in metas]))
        for key in ('ori_shape', 'img_shape')
    )
    return stored, read


def advise(
    reading: Throughput,
    training: Throughput,
    workers: int,
    cpus: int,
    sides: tuple[float, float] | None = None,
) -> str:
    """Say what limits the training, and what would help.

    Args:
        reading: Of the data loader alone.
        training: Of the model alone.
        workers: Worker processes of the loader.
        cpus: CPU cores for this process and its workers.
        sides: Mean side in pixels of the images in their files, and as the model gets them.

    Returns:
        A few sentences.
    """
    read, train = reading.images_per_second, training.images_per_second
    if workers == 0:
        both = 1 / (1 / read + 1 / train)
        share = both / read
        limit = (
            f'Without workers, reading and training take turns: about {both:.1f} images/s, '
            f'{share:.0%} of the time spent reading.'
        )
    elif read < train:
        limit = f'The data loader is the limit: the model waits {1 - read / train:.0%} of the time.'
    else:
        limit = (
            f'The model is the limit: the data loader could give {read / train:.1f} times as many.'
        )
    reads_too_slowly = read < train or (workers == 0 and read < 10 * train)
    advice = (
        _ways_to_read_faster(workers, cpus, sides) if reads_too_slowly else _ways_to_train_faster()
    )
    return '\n'.join([limit, *advice])


def _ways_to_read_faster(workers: int, cpus: int, sides: tuple[float, float] | None) -> list[str]:
    advice = []
    setting = '--cfg-options train_dataloader.num_workers='
    if workers < cpus:
        advice.append(
            f'- There are {cpus} CPU cores per process: {setting}{cpus} '
            'train_dataloader.persistent_workers=True'
        )
    else:
        advice.append(f'- {workers} workers keep the {cpus} CPU cores busy; more would not help.')
    if sides is not None and sides[0] > 1.5 * sides[1]:
        advice.append(
            f'- The files hold images of about {sides[0]:.0f} px a side and the model gets '
            f'{sides[1]:.0f}: smaller copies are read faster.'
        )
    return advice


def _ways_to_train_faster() -> list[str]:
    return [
        '- Reading faster would gain little. For the model: --bf16 (or --amp, on a GPU), '
        '--channels-last, --compile, smaller images or a smaller model.'
    ]
