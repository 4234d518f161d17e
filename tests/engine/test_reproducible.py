"""The same command gives the same weights, bit for bit, also when the run was interrupted."""

import copy
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import ROOT, TINY_ARCH, free_port
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.utils.data import DataLoader, SequentialSampler

pytest.importorskip('mmdet')
from casvit_mm import InputError
from casvit_mm.engine import Randomness, Start, TrainOptions, train, training
from casvit_mm.engine.checkpoints import AtomicBackend
from casvit_mm.engine.resume import find_checkpoint
from casvit_mm.engine.seeding import SeededBatchSampler, seed_generators
from casvit_mm.weights.reading import load_file

# Two epochs of four iterations, with drop path, flips and sampled regions to draw by chance.
CONFIG = f"""
_base_ = {str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r}), drop_path_rate=0.2),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'])!r}))
train_cfg = dict(max_epochs=2, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=3),
    dict(type='CosineAnnealingLR', begin=0, end=2, T_max=2, convert_to_iter_based=True)]
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=2))
custom_hooks = []
"""
WORKERS = {'train_dataloader.num_workers': 1, 'train_dataloader.persistent_workers': True}
# Wall clock and memory, the only part of the history that differs from run to run.
MEASURED = ('time', 'data_time', 'img_per_s', 'host_memory_mb', 'memory')


@HOOKS.register_module()
class _Sigterm(Hook):
    """Sends SIGTERM to this process, before a training iteration or in the first validation."""

    def __init__(self, iteration=None):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if self.iteration is None and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture(scope='module')
def start(config, shapes):
    """Run a training in this process."""

    def run_training(work_dir, cfg_options=None, resume=None):
        options = TrainOptions(
            data=str(shapes),
            work_dir=str(work_dir),
            start=Start(resume=resume, from_scratch=True),
            randomness=Randomness(seed=3, deterministic=True),
            cfg_options=copy.deepcopy(cfg_options),  # MMEngine takes _delete_ out of it
        )
        try:
            return train(config, options)
        finally:
            torch.use_deterministic_algorithms(False)

    return run_training


@pytest.fixture(scope='module')
def unbroken(start, tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('unbroken')
    start(work_dir)
    return work_dir


def contents(path: Path) -> dict:
    """Return all of a checkpoint that must not depend on how often a run was interrupted."""
    content = load_file(path)
    hub = content['message_hub']
    history = {
        name: buffer
        for name, buffer in hub['log_scalars'].items()
        if name.rpartition('/')[2] not in MEASURED
    }
    info = hub['runtime_info']
    kept = {name: info.get(name) for name in ('best_score', 'keep_ckpt_ids', 'iter_validated')}
    kept['best_ckpt'] = Path(info['best_ckpt']).name
    parts = ('state_dict', 'optimizer', 'param_schedulers')
    return {**{part: content[part] for part in parts}, 'history': history, 'info': kept}


def differences(left, right, where=''):
    """Yield where two nested structures differ, tensors compared bit for bit."""
    if isinstance(left, dict):
        if left.keys() != right.keys():
            yield f'{where}: {set(left) ^ set(right)}'
        for key in left.keys() & right.keys():
            yield from differences(left[key], right[key], f'{where}/{key}')
    elif isinstance(left, (list, tuple)):
        if len(left) != len(right):
            yield f'{where}: {len(left)} and {len(right)} items'
        for number, pair in enumerate(zip(left, right)):
            yield from differences(*pair, f'{where}/{number}')
    elif isinstance(left, torch.Tensor):
        if not torch.equal(left, right):
            yield where
    elif left != right and (left == left or right == right):
        yield f'{where}: {left} and {right}'


def assert_same_run(work_dir: Path, unbroken: Path) -> None:
    pair = (contents(folder / 'epoch_2.pth') for folder in (work_dir, unbroken))
    assert list(differences(*pair)) == []
    names = [sorted(path.name for path in folder.glob('*.pth')) for folder in (work_dir, unbroken)]
    assert names[0] == names[1]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_whatever_the_number_of_workers(
    unbroken, start, tmp_path
):
    start(tmp_path, cfg_options=WORKERS)
    assert_same_run(tmp_path, unbroken)


def test_generators_are_seeded_differently_for_every_iteration_and_sample():
    def draw(*key):
        seed_generators(*key)
        return torch.rand(1).item()

    keys = [(0, 0), (0, 1), (1, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(0, 1, 2) == draw(0, 1, 2)


class _Drawing:
    """A dataset whose samples are random numbers beside their index."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, torch.rand(1).item()


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('endless', [False, True])
def test_batches_after_a_skip_are_those_of_the_unbroken_order(num_workers, endless):
    def samples(skip, count=7, num_workers=0):
        batches = SeededBatchSampler(SequentialSampler(range(10)), 3, seed=5, endless=endless)
        batches.start_at(iteration=20 + skip, skip=skip)
        loader = DataLoader(
            _Drawing(), batch_sampler=batches, collate_fn=list, num_workers=num_workers
        )
        return [batch for batch, _ in zip(loader, range(count))]

    assert samples(2, 5, num_workers) == samples(0)[2:]
    assert len(samples(2, 5)) == (5 if endless else 2)


def test_sigterm_in_mid_epoch_then_resuming_gives_the_weights_of_the_unbroken_run(
    unbroken, start, tmp_path
):
    stop = {'custom_hooks': [dict(type='_Sigterm', iteration=5)], **WORKERS}
    with pytest.raises(SystemExit) as stopped:
        start(tmp_path, cfg_options=stop)
    assert stopped.value.code == 143
    interrupted = load_file(tmp_path / 'interrupted.pth')
    assert interrupted['meta']['iter'] == 6
    assert interrupted['message_hub']['runtime_info']['batches_done'] == 2

    start(tmp_path, resume='auto', cfg_options=WORKERS)
    assert_same_run(tmp_path, unbroken)


@pytest.mark.slow
def test_sigterm_during_validation_then_resuming_validates_and_gives_the_same_run(
    unbroken, start, tmp_path
):
    with pytest.raises(SystemExit) as stopped:
        start(tmp_path, cfg_options={'custom_hooks': [dict(type='_Sigterm')]})
    assert stopped.value.code == 143
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']

    start(tmp_path, resume='auto')
    assert_same_run(tmp_path, unbroken)


@pytest.mark.slow
def test_a_run_killed_in_the_second_epoch_goes_on_from_the_first_to_the_same_weights(
    unbroken, start, tmp_path
):
    best = load_file(unbroken / 'epoch_1.pth')['message_hub']['runtime_info']['best_ckpt']
    work_dir = tmp_path / 'moved'
    work_dir.mkdir()
    shutil.copy(unbroken / 'epoch_1.pth', work_dir)
    (work_dir / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')

    start(work_dir, resume='auto', cfg_options=WORKERS)
    pair = [contents(folder / 'epoch_2.pth') for folder in (work_dir, unbroken)]
    assert list(differences(*pair)) == []
    assert Path(best).name.endswith('epoch_1.pth')


@pytest.fixture
def tool():
    """Start tools/train.py, and leave nothing of it running when the test ends."""
    started = []

    def start_process(*arguments, **options):
        started.append(start_tool(*arguments, **options))
        return started[-1]

    yield start_process
    for process in started:
        process.terminate()  # the launcher ends its processes, which have groups of their own
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def start_tool(config, shapes, work_dir, *arguments, processes=1):
    """Start tools/train.py as a shell would, in a process group of its own."""
    launcher = [sys.executable, 'tools/train.py', config]
    if processes > 1:
        launcher = ['tools/dist_train.sh', config, str(processes)]
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    options = ['--from-scratch', '--seed', '3', '--deterministic']
    return subprocess.Popen(
        [*launcher, '--data', str(shapes), '--work-dir', str(work_dir), *options, *arguments],
        cwd=ROOT,
        env={**os.environ, 'PATH': path, 'PORT': free_port()},
        stdout=(work_dir / 'out.txt').open('a'),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for(text: str, work_dir: Path, process: subprocess.Popen) -> None:
    """Wait until a text is logged."""
    while not any(text in path.read_text() for path in work_dir.glob('*/*.log')):
        assert process.poll() is None, (work_dir / 'out.txt').read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_at_the_terminal_of_a_run_and_its_workers_saves_and_exits_with_130(
    unbroken, config, shapes, start, tool, tmp_path
):
    options = ['--cfg-options', *(f'{key}={value}' for key, value in WORKERS.items())]
    options += ['val_dataloader.num_workers=1', 'val_dataloader.persistent_workers=True']
    process = tool(config, shapes, tmp_path, *options)
    wait_for('Epoch(train) [2][1/4]', tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(250) == 130, (tmp_path / 'out.txt').read_text()
    assert 'run the same command with --resume' in (tmp_path / 'out.txt').read_text()
    assert (tmp_path / 'interrupted.pth').is_file()

    start(tmp_path, resume='auto')
    assert_same_run(tmp_path, unbroken)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo, on a host without GPU')
def test_two_processes_stop_together_and_go_on_to_the_weights_of_the_unbroken_run(
    config, shapes, tool, tmp_path
):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    for folder in (whole, broken):
        folder.mkdir()
    longer = ['--cfg-options', 'train_dataloader.batch_size=1', 'train_dataloader.num_workers=1']
    assert tool(config, shapes, whole, *longer, processes=2).wait(250) == 0

    process = tool(config, shapes, broken, *longer, processes=2)
    wait_for('Epoch(train) [1][1/4]', broken, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(250) == 143, (broken / 'out.txt').read_text()
    saved = load_file(broken / 'interrupted.pth')['message_hub']['runtime_info']
    assert saved['rank_buffers']['1']  # each process has statistics of its own images

    assert tool(config, shapes, broken, *longer, '--resume', processes=2).wait(250) == 0
    assert_same_run(broken, whole)


@pytest.mark.slow
def test_training_by_iterations_goes_on_to_the_weights_of_the_unbroken_run(start, tmp_path):
    options = {
        'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=7, val_interval=4),
        'train_dataloader.sampler.type': 'InfiniteSampler',
        'param_scheduler': [dict(type='PolyLR', by_epoch=False, end=7)],
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 7,
        'log_processor.by_epoch': False,
        **WORKERS,
    }
    start(tmp_path / 'whole', cfg_options=options)
    stop = {'custom_hooks': [dict(type='_Sigterm', iteration=5)]}
    with pytest.raises(SystemExit):
        start(tmp_path / 'broken', cfg_options=options | stop)
    start(tmp_path / 'broken', resume='auto', cfg_options=options)
    pair = (contents(tmp_path / name / 'iter_7.pth') for name in ('broken', 'whole'))
    assert list(differences(*pair)) == []


@pytest.mark.slow
def test_an_epoch_resumed_with_another_batch_size_goes_on_after_about_the_same_images(
    start, tmp_path
):
    stop = {'custom_hooks': [dict(type='_Sigterm', iteration=1)]}
    with pytest.raises(SystemExit):
        start(tmp_path, cfg_options=stop)
    options = {'train_dataloader.batch_size': 4, 'train_cfg.max_epochs': 1}
    runner = start(tmp_path, resume='auto', cfg_options=options)
    # 2 iterations of 2 images, then the other 4 images in one.
    assert runner.iter == 3
    log = next(iter(Path(runner.log_dir).glob('*.log'))).read_text()
    assert 'had 2 images per iteration and this one has 4' in log


@pytest.mark.slow
def test_without_a_seed_the_resumed_run_takes_that_of_the_interrupted_one(
    unbroken, config, shapes, tmp_path
):
    (tmp_path / 'last_checkpoint').write_text(str(unbroken / 'epoch_2.pth'))
    resume = Start(resume='auto', from_scratch=True)
    runner = train(config, TrainOptions(data=str(shapes), work_dir=str(tmp_path), start=resume))
    assert runner.seed == runner.train_dataloader.batch_sampler.seed == 3


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one_to_resume_from(
    start, tmp_path, monkeypatch
):
    put = AtomicBackend.put

    def full_disk(self, obj, filepath):
        if Path(filepath).name == 'epoch_2.pth':
            raise InputError('disk full')
        put(self, obj, filepath)

    monkeypatch.setattr(AtomicBackend, 'put', full_disk)
    with pytest.raises(InputError, match='disk full'):
        start(tmp_path, cfg_options={'default_hooks.checkpoint.max_keep_ckpts': 1})
    assert find_checkpoint('auto', str(tmp_path)) == (str(tmp_path / 'epoch_1.pth'), [])
    assert load_file(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 1


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'old')
    monkeypatch.setattr(os, 'fsync', no_space)
    with pytest.raises(InputError, match=r'cannot write .*epoch_1\.pth: No space left.*--resume'):
        AtomicBackend().put(bytes(2**20), path)
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']
    assert path.read_bytes() == b'old'


def test_files_without_the_optimizers_state_are_not_resumed_from(unbroken, start, tmp_path):
    (best,) = unbroken.glob('best_*.pth')
    with pytest.raises(InputError, match=r'without the state of the optimizer(?s:.*)--finetune'):
        start(tmp_path, resume=str(best))


def test_an_operator_that_cannot_be_deterministic_is_named():
    class Runner:
        def register_hook(self, hook):
            pass

        def train(self):
            raise RuntimeError('roi_align_backward does not have a deterministic implementation')

    with pytest.raises(InputError, match=r'roi_align_backward .*\nLeave --deterministic out'):
        training._run(Runner())
