"""Batches of several image sizes: which samples they hold, and that a run resumes exactly."""

import json
import os
import pickle
import random
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import TINY_ARCH, IndexAndSize, free_port, run_command
from mmengine.dataset import DefaultSampler, InfiniteSampler, RepeatDataset
from mmpretrain.datasets.transforms import RandomResizedCrop
from PIL import Image, ImageOps
from timm.data import create_transform
from torch.utils.data import DataLoader

from casvit_mm.classification import (
    MultiScaleBatchSampler,
    MultiScaleRandomResizedCrop,
    TimmRandAugment,
)
from casvit_mm.classification.pretraining.sampler import SizedIndex
from casvit_mm.engine.seeding import SeededBatchSampler
from casvit_mm.weights.reading import load_file

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


def picture(height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('size', [None, 48])
def test_the_crop_is_that_of_mmpretrain_at_the_size_of_the_batch(size):
    options = dict(interpolation='bicubic', backend='pillow')
    index = 7 if size is None else SizedIndex(7, size)
    results = dict(img=picture(), sample_idx=index)
    np.random.seed(2)
    ours = MultiScaleRandomResizedCrop(32, **options)(results)['img']
    np.random.seed(2)
    theirs = RandomResizedCrop(size or 32, **options)(dict(img=picture()))['img']
    np.testing.assert_array_equal(ours, theirs)


def posterize_to_any_depth(image, bits):
    """What Pillow did before it refused 0 bits."""
    return image.point([value & ~(2 ** (8 - bits) - 1) for value in range(256)] * 3)


def test_augmentation_is_that_of_timms_transform_for_training(monkeypatch):
    monkeypatch.setattr(ImageOps, 'posterize', posterize_to_any_depth)
    whole = create_transform(
        64, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic'
    )
    theirs = next(t for t in whole.transforms if type(t).__name__ == 'RandAugment')
    ours = TimmRandAugment(size=64)
    changed = 0
    for seed in range(40):
        image = Image.fromarray(picture())
        random.seed(seed)
        np.random.seed(seed)
        expected = np.asarray(theirs(image))
        random.seed(seed)
        np.random.seed(seed)
        augmented = ours(dict(img=picture()[..., ::-1]))['img']
        np.testing.assert_array_equal(augmented[..., ::-1], expected)
        changed += not np.array_equal(expected, picture())
    assert changed > 20


def test_the_strongest_posterisation_gives_black_with_any_pillow():
    transform = TimmRandAugment('rand-m10-p1-n1-inc1')
    (posterize,) = [op for op in transform.augment.ops if op.name == 'PosterizeIncreasing']
    assert not np.asarray(posterize(Image.fromarray(picture()))).any()


def test_red_is_treated_as_red():
    transform = TimmRandAugment()
    # Grey of a colour weighs green most and blue least: an operation that tells them apart.
    transform.augment = lambda image: ImageOps.grayscale(image).convert('RGB')
    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255  # BGR
    assert transform(dict(img=blue))['img'].max() == 29  # 0.114 of 255; red would give 76


def test_another_policy_than_randaugment_is_refused():
    with pytest.raises(ValueError, match=r"timm's rand-\.\.\., got 'augmix-m5'"):
        TimmRandAugment('augmix-m5')


STUB = """
import json, os, signal
from pathlib import Path
import numpy as np
from mmengine.dataset import Compose
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS

@DATASETS.register_module()
class NoiseDataset:
    metainfo = dict(classes=('a', 'b'))

    def __init__(self, pipeline):
        self.pipeline = Compose(pipeline)

    def __len__(self):
        return 21

    def __getitem__(self, index):
        image = np.random.RandomState(int(index)).randint(0, 256, (70, 80, 3), np.uint8)
        sample = dict(img=image, gt_label=int(index) % 2, sample_idx=index)
        return self.pipeline(sample)

@HOOKS.register_module()
class WitnessHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        with Path(runner.work_dir, f'rank{get_rank()}.jsonl').open('a') as file:
            samples = [sample.sample_idx for sample in data_batch['data_samples']]
            print(json.dumps([runner.iter, data_batch['inputs'].shape[-1], samples]), file=file)
        if os.environ.get('STOP_AT') == str(runner.iter) and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
"""
CONFIG = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['casvit_mm.classification', 'multi_scale_stub'])
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[124, 116, 104], std=[58, 57, 57], to_rgb=True),
    backbone=dict(type='CASViT', arch=dict({TINY_ARCH!r}), out_indices=(3,), drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=20))
train_dataloader = dict(
    batch_size=2, num_workers=1, collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='MultiScaleBatchSampler', sizes=(32, 48, 64), base_size=48),
    dataset=dict(type='NoiseDataset', pipeline=[
        dict(type='MultiScaleRandomResizedCrop', scale=48, backend='pillow'),
        dict(type='TimmRandAugment', size=48),
        dict(type='PackInputs', meta_keys=('sample_idx',))]))
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, convert_to_iter_based=True)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
custom_hooks = [dict(type='WitnessHook')]
env_cfg = dict(mp_cfg=dict(mp_start_method='fork'))
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
    find_unused_parameters=True)
"""
SCRIPT = """
import os, sys
from casvit_mm.engine import Randomness, Start, TrainOptions, train

def run(name, resume=None):
    train('config.py', TrainOptions(
        work_dir=name,
        start=Start(resume=resume),
        randomness=Randomness(seed=3, deterministic=True),
        launcher='pytorch'))

run('whole')
os.environ['STOP_AT'] = '2'
try:
    run('broken')
except SystemExit as stopped:
    assert stopped.code == 143
else:
    raise AssertionError('not stopped')
del os.environ['STOP_AT']
run('broken', resume='auto')
"""


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """An unbroken run under two processes, and one stopped in its first epoch and resumed."""
    folder = tmp_path_factory.mktemp('runs')
    for name, text in (
        ('multi_scale_stub.py', STUB),
        ('config.py', CONFIG),
        ('script.py', SCRIPT),
    ):
        (folder / name).write_text(text)
    port = free_port()
    launch = [sys.executable, '-m', 'casvit_mm.launch', '--nproc-per-node=2', '--master-port', port]
    path = os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')])
    result = run_command(
        'env', '-C', folder, *launch, 'script.py', PYTHONPATH=path, CUDA_VISIBLE_DEVICES='-1'
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def batches_in(folder, rank: int) -> list:
    lines = (folder / f'rank{rank}.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_two_processes_train_at_the_same_size_in_every_step(runs):
    sizes = [[size for _, size, _ in batches_in(runs / 'whole', rank)] for rank in range(2)]
    assert sizes[0] == sizes[1]
    assert set(sizes[0]) == {32, 48, 64}


def test_two_processes_see_every_sample_in_every_epoch(runs):
    for rank in range(2):
        assert len(batches_in(runs / 'whole', rank)) == 10
    first = [batch for rank in range(2) for batch in batches_in(runs / 'whole', rank)[:5]]
    assert {index for _, _, samples in first for index in samples} == set(range(21))


def test_a_run_stopped_in_mid_epoch_goes_on_with_the_same_batches_and_sizes(runs):
    for rank in range(2):
        assert batches_in(runs / 'broken', rank) == batches_in(runs / 'whole', rank)


def test_a_run_stopped_in_mid_epoch_ends_with_the_weights_of_the_unbroken_run(runs):
    whole, broken = (load_file(runs / name / 'epoch_2.pth') for name in ('whole', 'broken'))
    assert whole['state_dict'].keys() == broken['state_dict'].keys()
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, broken['state_dict'][name]), name
    history = [content['message_hub']['log_scalars']['train/loss'] for content in (whole, broken)]
    assert history[0] == history[1]
