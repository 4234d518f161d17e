"""Multi-scale training: every batch has an image size of its own, and small sizes larger batches.

The idea is MobileViT's (https://arxiv.org/abs/2110.02178, section 3.2); the published CAS-ViT
training takes it from EdgeNeXt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import get_world_size
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

__all__ = ['MultiScaleBatchSampler', 'SizedIndex']

# Makes the order of the sizes independent of what else is drawn from the same seed and epoch.
_STREAM = 0x51CE
# These datasets replace the index that they are given, and the size with it.
_WRAPPERS = (ClassBalancedDataset, ConcatDataset, RepeatDataset)


class SizedIndex(int):
    """The index of a sample that knows the size its image is to have.

    Args:
        index: Index into the dataset.
        size: Side of the image in pixels.
    """

    size: int

    def __new__(cls, index: int, size: int) -> SizedIndex:
        self = super().__new__(cls, index)
        self.size = size
        return self

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self), self.size


@DATA_SAMPLERS.register_module()
class MultiScaleBatchSampler(Sampler):
    """Batches of :class:`SizedIndex`, each batch of one size, the same on all processes.

    At a size ``s`` below ``base_size`` a batch holds ``batch_size * (base_size / s) ** 2`` samples,
    rounded down; from there on it holds ``batch_size``, as published, or shrinks by the same rule
    with ``cap_memory``. An epoch takes every sample of ``sampler`` once:

    - as many batches of each size as of any other, as long as there are samples for all sizes,
    - from what remains one batch of each size that still fits, in the order of ``sizes``, then
      batches of the base size,
    - these in an order drawn from the seed and the epoch of ``sampler``,
    - at the end the samples that fill no batch, one of the base size or part of it.

    So every epoch has equally many batches. The published code draws the size of each batch on its
    own, which leaves the number of batches to chance, where MMEngine's schedules need to know it;
    it also fills the last batch with samples taken twice, and makes a batch even and a multiple of
    the number of processes (248 instead of 250 images of 160 px on 8 GPUs).

    A last batch may hold a single sample. BatchNorm takes that, over its positions, at 64 px or
    more; at 32 px the last stage has one position, and torch refuses to normalise a single value.

    Args:
        sampler: Yields the indices of this process, equally many on all; has ``seed`` and
            ``epoch``, like MMEngine's ``DefaultSampler``.
        batch_size: Samples in a batch of the base size.
        sizes: Sides of the images in pixels.
        base_size: Size that ``batch_size`` is meant for.
        cap_memory: Take smaller batches, down to one sample, at sizes above ``base_size``.

    Attributes:
        batch_sizes: Samples in a full batch, by size.

    Raises:
        ValueError: If a number is not positive or a size named twice, if ``sampler`` knows no
            epochs or gives the processes unequal shares, or if its dataset is a wrapper that
            would lose the size.
    """

    def __init__(
        self,
        sampler: Any,
        batch_size: int,
        sizes: Sequence[int] = (160, 192, 224, 256, 288, 320),
        base_size: int = 224,
        cap_memory: bool = False,
    ) -> None:
        _check_sampler(sampler)
        if not sizes or min(batch_size, base_size, *sizes) < 1 or len(set(sizes)) != len(sizes):
            raise ValueError(
                'batch_size, base_size and sizes must be positive and no size be named twice, got '
                f'{batch_size}, {base_size} and {tuple(sizes)}'
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.base_size = base_size
        smallest = 1 if cap_memory else batch_size
        self.batch_sizes = {
            size: max(smallest, batch_size * base_size**2 // size**2) for size in sizes
        }
        self._sizes, self._last = self._partition(len(sampler))

    def _partition(self, samples: int) -> tuple[list[int], int]:
        """Return the size of each full batch, in no order yet, and the samples that remain."""
        rounds, rest = divmod(samples, sum(self.batch_sizes.values()))
        sizes = list(self.batch_sizes) * rounds
        for size, batch in self.batch_sizes.items():
            if batch <= rest:
                sizes.append(size)
                rest -= batch
        more, rest = divmod(rest, self.batch_size)
        return sizes + [self.base_size] * more, rest

    def __len__(self) -> int:
        return len(self._sizes) + bool(self._last)

    def __iter__(self) -> Iterator[list[SizedIndex]]:
        seed = np.random.SeedSequence((self.sampler.seed, self.sampler.epoch, _STREAM))
        sizes = np.random.default_rng(seed).permutation(self._sizes).tolist()
        indices = iter(self.sampler)
        for size in [*sizes, *([self.base_size] if self._last else [])]:
            batch = itertools.islice(indices, self.batch_sizes.get(size, self.batch_size))
            yield [SizedIndex(index, size) for index in batch]


def _check_sampler(sampler: Any) -> None:
    """Refuse a sampler that batches of varying size cannot be formed of; see above."""
    if not (hasattr(sampler, 'seed') and hasattr(sampler, 'epoch')):
        raise ValueError(
            'MultiScaleBatchSampler needs a sampler with a seed and epochs, as DefaultSampler has; '
            f'got {type(sampler).__name__}'
        )
    if get_world_size() > 1 and not getattr(sampler, 'round_up', True):
        raise ValueError(
            'MultiScaleBatchSampler needs equally many samples in all processes: leave out '
            'round_up=False of the sampler'
        )
    dataset = getattr(sampler, 'dataset', None)
    if isinstance(dataset, _WRAPPERS):
        raise ValueError(
            f'MultiScaleBatchSampler and {type(dataset).__name__} do not go together: the wrapper '
            'hands its dataset a plain index, and the size of the images would be lost'
        )
