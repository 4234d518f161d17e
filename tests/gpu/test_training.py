"""Training on a GPU: mixed precision, resuming to the same weights, synchronised norms."""

import sys

import pytest
import torch
from helpers import ROOT, TINY_ARCH, free_port, run_command

pytest.importorskip('mmpretrain')
from casvit_mm.engine import Randomness, Speed, Start, TrainOptions, train
from casvit_mm.weights.reading import load_file

pytestmark = pytest.mark.gpu

CONFIG = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['casvit_mm.classification', 'noisy_images'])
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[124, 116, 104], std=[58, 57, 57], to_rgb=True),
    backbone=dict(type='CASViT', arch=dict({TINY_ARCH!r}), out_indices=(3,), drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=20))
train_dataloader = dict(
    batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='NoisyImages', pipeline=[dict(type='PackInputs')]))
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, convert_to_iter_based=True)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', interval=1))
"""
# Each process has half of the images; with synchronised norms both compute what one would on all.
SYNCED = """
import copy, os, sys, torch, torch.distributed as dist
rank = int(os.environ['RANK'])
torch.cuda.set_device(rank)
dist.init_process_group('nccl')
size = dist.get_world_size()
torch.backends.cudnn.allow_tf32 = False
from casvit_mm import CASViT
torch.manual_seed(0)
plain = CASViT(dict(depths=(1, 1, 1, 1), embed_dims=(8, 12, 16, 20))).cuda().train()
synced = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
x = torch.rand(2 * size, 3, 64, 96, generator=torch.Generator().manual_seed(1)).cuda()
expected = plain(x)
found = torch.nn.parallel.DistributedDataParallel(synced, [rank])(x[2 * rank : 2 * rank + 2])
for one, other in zip(found, expected):
    torch.testing.assert_close(one, other[2 * rank : 2 * rank + 2], rtol=1e-3, atol=1e-4)
for (name, one), other in zip(synced.named_buffers(), plain.buffers()):
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)
print('same in process', rank, 'of', size, flush=True)
dist.destroy_process_group()
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def start(config, gpu):
    """Run a training in this process, on a GPU where there is one."""

    def run(work_dir, **options):
        try:
            return train(config, TrainOptions(work_dir=str(work_dir), **options))
        finally:
            torch.use_deterministic_algorithms(False)

    return run


def test_mixed_precision_trains_with_a_loss_scale_that_is_kept(start, gpu, tmp_path):
    on_gpu = gpu.startswith('cuda')
    speed = Speed(amp=on_gpu, bf16=not on_gpu, channels_last=True)
    runner = start(tmp_path / 'run', speed=speed, randomness=Randomness(seed=0))
    assert next(runner.model.parameters()).device.type == torch.device(gpu).type
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == 4
    assert torch.tensor(losses).isfinite().all()
    if on_gpu:
        content = load_file(tmp_path / 'run/epoch_2.pth')
        assert content['optimizer']['loss_scaler']['scale'] > 0


def test_a_resumed_run_has_the_weights_of_the_unbroken_one_to_the_last_bit(start, tmp_path):
    options = dict(randomness=Randomness(seed=3, deterministic=True))
    start(tmp_path / 'whole', **options)
    short = {'train_cfg.max_epochs': 1}
    start(tmp_path / 'broken', cfg_options=short, **options)
    resumed = Start(resume=str(tmp_path / 'broken/epoch_1.pth'))
    start(tmp_path / 'broken', start=resumed, **options)
    whole, broken = (
        load_file(tmp_path / name / 'epoch_2.pth')['state_dict'] for name in ('whole', 'broken')
    )
    assert whole.keys() == broken.keys()
    assert [key for key in whole if not torch.equal(whole[key], broken[key])] == []


def test_synchronised_norms_compute_as_one_process_on_all_images(gpu, tmp_path):
    if not gpu.startswith('cuda'):
        pytest.skip('torch synchronises norms on GPUs alone')
    processes = min(2, torch.cuda.device_count())
    script = tmp_path / 'synced.py'
    script.write_text(SYNCED)
    launch = ['-m', 'casvit_mm.launch', f'--nproc-per-node={processes}']
    port = f'--master-port={free_port()}'
    ended = run_command(sys.executable, *launch, port, script, PYTHONPATH=str(ROOT))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count('same in process') == processes
    if processes == 1:
        pytest.skip('one process agrees with itself; two GPUs would tell more')
