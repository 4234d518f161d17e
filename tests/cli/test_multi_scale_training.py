"""A multi-scale training in two processes, stopped and resumed."""

import json
import os
import sys

import pytest
import torch
from helpers import TINY_ARCH, free_port, run_command

from casvit_mm.weights.reading import load_file

pytestmark = pytest.mark.slow

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
