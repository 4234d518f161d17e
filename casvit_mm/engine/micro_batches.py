"""The images per step of an elastic run, kept while hosts go and come.

A run of at most N processes (``NNODES=1:4 tools/dist_train.sh``) takes the images of N in every
iteration. Where only a part of them is there, each process takes the images of several, one
micro-batch after the other, and their gradients are accumulated: iterations, schedule, the order of
the images and the batch of each forward pass stay what they were. That needs a number of processes
that divides N; otherwise each process takes its own images, fewer in all, and the learning rate is
scaled with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info, get_rank, get_world_size
from mmengine.runner import Runner

from casvit_mm.distributed.group import ALL_PROCESSES
from casvit_mm.engine.drop_masks import BatchPart, drop_by_part
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.schedule import scales_with_batch
from casvit_mm.engine.seeding import seed_generators

__all__ = ['begin_micro_batches', 'keep_images_per_step', 'split_batch', 'train_step']


def keep_images_per_step(cfg: Config, options: TrainOptions) -> list[str]:
    """Let the processes that are there take the images of those that are not, in place.

    The processes must have been started.

    Returns:
        What the log should say.
    """
    every = int(os.environ.get(ALL_PROCESSES, 0))
    present = get_world_size()
    if not every:
        return []
    # The config may be the copy in the work dir of a run that had fewer.
    images = cfg.train_dataloader.batch_size // cfg.train_cfg.pop('micro_batches', 1)
    cfg.train_dataloader.batch_size = images
    if present == every:
        return []
    there = f'elastic run: {present} of at most {every} processes are there'
    if every % present == 0 and str(cfg.train_cfg.get('type', '')).startswith('Resumable'):
        times = every // present
        cfg.train_dataloader.batch_size = images * times
        cfg.train_cfg.micro_batches = times
        return [
            f'{there}; each takes {times} x {images} images and accumulates their gradients, so '
            f'that an iteration has {every * images} images, as with all of them'
        ]
    notes = [f'{there}; an iteration has {present * images} images instead of {every * images}']
    if not scales_with_batch(cfg, options):  # that scales it by itself
        optimizer = cfg.optim_wrapper.optimizer
        old, optimizer.lr = optimizer.lr, optimizer.lr * present / every
        notes.append(f'learning rate {old:g} -> {optimizer.lr:g}, in proportion')
    return notes


def begin_micro_batches(runner: Runner, times: int) -> BatchPart:
    """Let the optimizer step after every ``times`` calls for one before; before the first of them.

    Args:
        runner: The Runner, with its iterations done and to do.
        times: Micro-batches in an iteration.

    Returns:
        The first part of an iteration's images that this process trains on.
    """
    part = BatchPart(get_rank(), times * get_world_size())
    drop_by_part(runner.model, part)
    if times == 1:
        return part
    wrapper, loop = runner.optim_wrapper, runner.train_loop
    wrapper._accumulative_counts *= times
    wrapper.initialize_count_status(runner.model, times * loop.iter, times * loop.max_iters)
    return part


def train_step(runner: Runner, batch: Any, part: BatchPart) -> dict[str, torch.Tensor]:
    """Train on a batch, by micro-batches.

    Args:
        runner: The Runner, its generators seeded for this iteration.
        batch: ``inputs``, a list or ``(B, ...)``, and ``data_samples``, a list.
        part: What :func:`begin_micro_batches` has returned.

    Returns:
        What the log shows of the losses: means over the micro-batches.
    """
    rank, processes = get_dist_info()
    times = part.step // processes
    logs: list[dict[str, torch.Tensor]] = []
    for i, micro_batch in enumerate(split_batch(batch, times)):
        part.first = rank + i * processes
        if i:  # as in the process that would train on it
            seed_generators(runner.seed, runner.iter)
        logs.append(runner.model.train_step(micro_batch, optim_wrapper=runner.optim_wrapper))
    if times == 1:
        return logs[0]
    return {name: torch.stack([log[name] for log in logs]).mean() for name in logs[0]}


def split_batch(batch: Any, times: int) -> Iterator[Any]:
    """Yield as many parts of a batch, of equal length within one.

    Samples are dealt out in turn, as MMEngine's samplers deal them out to processes: a part is the
    batch that a process would have which is not there. The last batch of an epoch may have fewer
    samples than parts are needed, on all processes alike; then samples are taken again.
    """
    if times == 1:
        yield batch
        return
    number = len(batch['inputs'])
    for i in range(times):
        chosen = list(range(i, number, times)) or [i % number]
        yield {
            key: value[chosen] if isinstance(value, torch.Tensor) else [value[j] for j in chosen]
            for key, value in batch.items()
        }
