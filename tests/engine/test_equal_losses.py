"""A training by 1, 2 and 4 processes with the same images in every iteration is the same one."""

import os
import re
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch
from helpers import ROOT, run_ranks
from mmengine.dataset import DefaultSampler
from tiny_training import train_tiny

from casvit_mm.datasets.shapes import generate_shape_labels
from casvit_mm.engine import seeding
from casvit_mm.engine.seeding import SeededBatchSampler
from casvit_mm.weights.reading import load_file

NUMBERS = (1, 2, 4)


def train_by(number, work_dir):
    """Train the tiny model by several processes on 4 images per iteration."""
    changes = {
        'model.seconds': 0,
        'model.drop': 0.5,
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 4 // number,
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
    }
    ended = run_ranks(number, lambda: train_tiny(work_dir, launcher='pytorch', **changes))
    assert ended == [0] * number


def test_random_images_and_weights_do_not_depend_on_the_number_of_processes(tmp_path):
    """Samples are random numbers, half are dropped; gradients are added up in another order."""
    # In a program of its own: what is forked after a backward pass cannot compute another one.
    paths = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    command = [sys.executable, __file__, str(tmp_path)]
    result = subprocess.run(
        command, env={**os.environ, 'PYTHONPATH': paths}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    one, *others = (load_file(tmp_path / f'{n}/epoch_1.pth')['state_dict'] for n in NUMBERS)
    for other in others:
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('number', [1, 2, 4])
@pytest.mark.parametrize('length', [16, 18])
def test_every_image_is_seen_in_an_epoch_and_the_images_of_an_iteration_stay(
    number, length, monkeypatch
):
    """Where the number of processes does not divide the images, fewer than it are seen twice."""
    batches = []  # of each process
    for rank in range(number):
        for module in ('mmengine.dataset.sampler', seeding.__name__):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, number))
        sampler = DefaultSampler(range(length), shuffle=True, seed=3)
        batches.append([b.indices for b in SeededBatchSampler(sampler, 4 // number, seed=0)])
    seen = Counter(chain.from_iterable(chain.from_iterable(batches)))
    assert set(seen) == set(range(length))
    assert seen.total() - length == -length % number
    alone = list(torch.randperm(length, generator=torch.Generator().manual_seed(3)))
    for step, together in enumerate(zip(*batches)):
        images = sorted(chain.from_iterable(together))
        if step < length // 4:
            assert images == sorted(map(int, alone[4 * step : 4 * step + 4]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'changes'),
    [
        ('rtmdet_casvit_xs_light', ['train_dataloader.batch_sampler=None']),
        ('semfpn_casvit_xs_light', []),
    ],
)
def test_first_losses_of_real_configs(config, changes, shapes, tmp_path):
    """The segmentor has dropout, which is drawn for the images of all processes."""
    if config.startswith('semfpn'):
        shapes = generate_shape_labels(tmp_path, sizes=(8, 4, 4), side=64, seed=1)
    command = [sys.executable, '-m', 'casvit_mm.benchmark.equal_losses', f'configs/{config}.py']
    options = ['--data', str(shapes), '--processes', '1', '2', '--iterations', '1']
    if changes:
        options += ['--cfg-options', *changes]
    result = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    (apart,) = re.findall(r'2 processes: .* apart by (\S+) and', result.stdout)
    assert float(apart) < 1e-5


if __name__ == '__main__':
    for number in NUMBERS:
        train_by(number, Path(sys.argv[1]) / str(number))
