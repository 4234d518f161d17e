"""Randomness as a function of the seed and the place in the run, so that a run can be re-entered.

Random generators that run on from one sample to the next depend on the number of workers, on what
they prefetched and on everything since the start; none of it is in a checkpoint. Here they are
seeded anew: before each sample from (seed, iteration, place among the samples of all processes),
and before each training step from (seed, iteration), alike in all processes, which then draw for
the images of all of them (:mod:`casvit_mm.engine.drop_masks`). So a sample is the same whatever the
number of processes that share the images of an iteration.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, FUNCTIONS
from torch.utils.data import BatchSampler, Sampler

from casvit_mm.engine.interrupt import outlive_signals
from casvit_mm.engine.options import TrainOptions

__all__ = ['SeededBatch', 'SeededBatchSampler', 'seed_generators', 'set_randomness']

# Configs in the work dirs of old runs name it.
FUNCTIONS.register_module('outlive_sigterm', module=outlive_signals)


def set_randomness(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--seed`` and ``--deterministic`` into a config, in place; without, its own hold."""
    own = cfg.get('randomness') or {}
    seed = options.randomness.seed if options.randomness.seed is not None else own.get('seed')
    deterministic = options.randomness.deterministic or bool(own.get('deterministic'))
    cfg.randomness = dict(seed=seed, deterministic=deterministic)
    if deterministic:
        # cuBLAS reads this when it starts; without it torch refuses its matrix products.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        # Otherwise DDP regroups the gradients after the first iteration of a run, even of a resumed
        # one, and three processes or more then add them up in another order.
        cfg.find_unused_parameters = True
    return []


def seed_generators(seed: int, iteration: int, sample: int = 0) -> None:
    """Seed Python's, NumPy's and torch's generators.

    Args:
        seed: Seed of the run.
        iteration: Training iterations before this one, over all epochs.
        sample: Place among the samples of all processes, counted from 1; or 0 for the training
            step, which all processes do together.
    """
    # The 0 was the process once; it stays, so that a seed means what it meant.
    words = np.random.SeedSequence((seed, 0, iteration, sample)).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    if sample:  # samples are made on the CPU; seeding every device costs a millisecond
        torch.default_generator.manual_seed(int(words[2]))
    else:
        torch.manual_seed(int(words[2]))


class SeededBatch:
    """The sample indices of one batch, each preceded by seeding when they are iterated over.

    The loop over a batch's indices runs where the samples are read, so this reaches the worker
    processes without changing the dataset. MMEngine's samplers deal the samples out in turn: the
    first one of each process comes before the second of any.

    Args:
        indices: Indices into the dataset.
        seed: Seed of the run.
        iteration: Training iteration that the batch is for.
    """

    def __init__(self, indices: list[int], seed: int, iteration: int) -> None:
        self.indices = indices
        self.seed = seed
        self.iteration = iteration
        self._rank, self._processes = get_dist_info()  # a spawned worker is in no group

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        places = itertools.count(self._rank + 1, self._processes)
        for place, index in zip(places, self.indices, strict=False):
            seed_generators(self.seed, self.iteration, place)
            yield index


@DATA_SAMPLERS.register_module()
class SeededBatchSampler(Sampler):
    """Batches of another batch sampler that carry their seed, from any batch onwards.

    Args:
        sampler: Yields sample indices.
        batch_size: Samples in a batch.
        seed: Seed of the run.
        inner: Config of the batch sampler that forms the batches; torch's if None.
        drop_last: Leave out a smaller last batch; for torch's batch sampler.
        endless: Start over when the samples are used up, for training by iterations.
    """

    def __init__(
        self,
        sampler: Sampler,
        batch_size: int,
        seed: int,
        inner: dict | None = None,
        drop_last: bool = False,
        endless: bool = False,
    ) -> None:
        self.sampler = sampler  # MMEngine tells it the epoch through this attribute
        self.batch_size = batch_size
        self.seed = seed
        self.endless = endless
        self.first_iteration = self.skip = 0
        if inner is None:
            self.batches = BatchSampler(sampler, batch_size, drop_last)
        else:
            default_args = dict(sampler=sampler, batch_size=batch_size)
            self.batches = DATA_SAMPLERS.build(inner, default_args=default_args)

    def start_at(self, iteration: int, skip: int) -> None:
        """Set where the next pass begins.

        Args:
            iteration: Training iteration that the first batch which is not skipped is for.
            skip: Batches to leave out, whose samples are not read.
        """
        self.first_iteration, self.skip = iteration - skip, skip

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[SeededBatch]:
        numbers = itertools.count()
        for epoch in itertools.count() if self.endless else (None,):
            if epoch is not None and hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(epoch)
            for indices in self.batches:
                number = next(numbers)
                if number >= self.skip:
                    yield SeededBatch(indices, self.seed, self.first_iteration + number)
