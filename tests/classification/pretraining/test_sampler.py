"""Batches of many image sizes."""

import pickle
from collections import Counter

import pytest
from helpers import IndexAndSize
from mmengine.dataset import DefaultSampler, InfiniteSampler, RepeatDataset
from torch.utils.data import DataLoader

from casvit_mm.classification import (
    MultiScaleBatchSampler,
)
from casvit_mm.classification.pretraining.sampler import SizedIndex
from casvit_mm.engine.seeding import SeededBatchSampler

PUBLISHED = (160, 192, 224, 256, 288, 320)


def sampler_of(samples: int, rank: int = 0, world_size: int = 1, **options) -> DefaultSampler:
    """MMEngine's sampler as it is in one of several processes."""
    sampler = DefaultSampler(range(samples), seed=7, **options)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.num_samples = -(-samples // world_size)
    sampler.total_size = sampler.num_samples * world_size
    return sampler


def epoch_of(batches: MultiScaleBatchSampler, epoch: int = 0) -> list[tuple[int, list[int]]]:
    """Return size and indices of each batch of an epoch."""
    batches.sampler.set_epoch(epoch)
    found = []
    for batch in batches:
        (size,) = {index.size for index in batch}
        found.append((size, [int(index) for index in batch]))
    return found


@pytest.mark.parametrize('cap_memory', [False, True])
@pytest.mark.parametrize('samples', [5, 900, 1000, 3001])
def test_an_epoch_takes_every_sample_once(samples, cap_memory):
    batches = MultiScaleBatchSampler(sampler_of(samples), 16, cap_memory=cap_memory)
    for epoch in range(3):
        taken = [index for _, indices in epoch_of(batches, epoch) for index in indices]
        assert sorted(taken) == list(range(samples))


def test_every_epoch_has_as_many_batches_as_the_length_says():
    batches = MultiScaleBatchSampler(sampler_of(1000), 16)
    assert {len(epoch_of(batches, epoch)) for epoch in range(20)} == {len(batches)}


def test_smaller_sizes_take_larger_batches_and_larger_ones_keep_the_base_batch():
    batches = MultiScaleBatchSampler(sampler_of(9), 128)
    assert batches.batch_sizes == {160: 250, 192: 174, 224: 128, 256: 128, 288: 128, 320: 128}


def test_capping_memory_shrinks_the_batches_of_larger_sizes():
    batches = MultiScaleBatchSampler(sampler_of(9), 128, cap_memory=True)
    assert batches.batch_sizes == {160: 250, 192: 174, 224: 128, 256: 98, 288: 77, 320: 62}
    assert MultiScaleBatchSampler(sampler_of(9), 1, cap_memory=True).batch_sizes[320] == 1


def test_all_but_the_last_batch_are_full():
    batches = MultiScaleBatchSampler(sampler_of(3001), 16)
    *full, (size, last) = epoch_of(batches)
    assert all(len(indices) == batches.batch_sizes[size] for size, indices in full)
    assert size == 224
    assert 0 < len(last) < 16


def test_every_size_is_drawn_equally_often_up_to_the_remainder():
    drawn = Counter(size for size, _ in epoch_of(MultiScaleBatchSampler(sampler_of(30_000), 16)))
    assert set(drawn) == set(PUBLISHED)
    assert max(drawn.values()) - min(drawn.values()) <= 3


def test_what_remains_is_taken_at_each_size_that_fits_and_then_at_the_base_size():
    # A round takes 31 + 21 + 16 + 16 + 16 + 16 = 116; then 31 + 21 + 16 + 16 and 4 of 88 remain.
    batches = MultiScaleBatchSampler(sampler_of(116 + 88), 16)
    drawn = Counter(size for size, _ in epoch_of(batches))
    assert drawn == {160: 2, 192: 2, 224: 3, 256: 2, 288: 1, 320: 1}


def test_the_order_of_the_sizes_differs_from_epoch_to_epoch_and_repeats_with_the_seed():
    def order(epoch):
        batches = MultiScaleBatchSampler(sampler_of(3000), 16)
        return [size for size, _ in epoch_of(batches, epoch)]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_two_ranks_take_the_same_sizes_and_different_samples():
    pair = [
        epoch_of(MultiScaleBatchSampler(sampler_of(3000, rank, world_size=2), 16), epoch=2)
        for rank in range(2)
    ]
    sizes, samples = ([[batch[i] for batch in rank] for rank in pair] for i in range(2))
    assert sizes[0] == sizes[1]
    taken = [{index for batch in rank for index in batch} for rank in samples]
    assert not taken[0] & taken[1]
    assert list(map(len, samples[0])) == list(map(len, samples[1]))


def test_an_index_keeps_its_size_on_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SizedIndex(5, 160)))
    assert (index, index.size) == (5, 160)
    assert [10, 11, 12, 13, 14, 15][index] == 15


def read(skip: int, num_workers: int = 0, endless: bool = False) -> list:
    batches = SeededBatchSampler(
        sampler_of(40),
        batch_size=4,
        seed=3,
        inner=dict(type='MultiScaleBatchSampler', sizes=(32, 48, 64), base_size=48),
        endless=endless,
    )
    batches.start_at(iteration=skip, skip=skip)
    loader = DataLoader(
        IndexAndSize(),
        batch_sampler=batches,
        collate_fn=list,
        num_workers=num_workers,
        multiprocessing_context='spawn' if num_workers else None,
    )
    return [batch for batch, _ in zip(loader, range(20 - skip))]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_workers_read_every_sample_of_a_batch_at_its_size(num_workers):
    batches = read(skip=0, num_workers=num_workers)
    assert all(len({size for _, size in batch}) == 1 for batch in batches)
    assert {size for batch in batches for _, size in batch} == {32, 48, 64}


@pytest.mark.parametrize('endless', [False, True])
def test_batches_after_a_skip_have_the_samples_and_sizes_of_the_unbroken_order(endless):
    assert read(skip=3, endless=endless) == read(skip=0, endless=endless)[3:]


def test_a_sampler_without_epochs_is_refused():
    with pytest.raises(ValueError, match=r'sampler with a seed and epochs.*got InfiniteSampler'):
        MultiScaleBatchSampler(InfiniteSampler(range(9), seed=1), 4)


def test_unequal_shares_of_the_processes_are_refused(monkeypatch):
    monkeypatch.setattr('casvit_mm.classification.pretraining.sampler.get_world_size', lambda: 2)
    with pytest.raises(ValueError, match='leave out round_up=False'):
        MultiScaleBatchSampler(sampler_of(9, round_up=False), 4)


def test_a_wrapper_that_would_lose_the_size_is_refused():
    sampler = sampler_of(9)
    sampler.dataset = RepeatDataset.__new__(RepeatDataset)
    with pytest.raises(ValueError, match='RepeatDataset do not go together'):
        MultiScaleBatchSampler(sampler, 4)


@pytest.mark.parametrize('wrong', [dict(sizes=()), dict(sizes=(32, 32)), dict(base_size=0)])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match='must be positive and no size be named twice'):
        MultiScaleBatchSampler(sampler_of(9), 4, **wrong)
