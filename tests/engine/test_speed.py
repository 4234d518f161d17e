"""Options for speed, which must not change what is trained, and the question what limits it."""

import copy
import json
import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT, TINY_ARCH, free_port, run_command, slow_after
from torch import nn

from casvit_mm.engine import Randomness, Speed, Start, TrainOptions, profiling, speed, train
from casvit_mm.engine.profiling import Throughput, advise
from casvit_mm.errors import InputError
from casvit_mm.models import CASViT
from casvit_mm.weights.reading import load_file

# Two epochs of two iterations, without anything drawn by chance but the order of the images.
CONFIG = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['casvit_mm.classification', 'noisy_images'])
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[124, 116, 104], std=[58, 57, 57], to_rgb=True),
    backbone=dict(type='CASViT', arch=dict({TINY_ARCH!r}), out_indices=(3,)),
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
env_cfg = dict(dist_cfg=dict(backend='gloo'))
custom_hooks = [dict(type='EMAHook', momentum=0.1, update_buffers=True)]
"""
EAGER = dict(custom_hooks=[dict(type='EMAHook', momentum=0.1, update_buffers=True)])
EAGER['custom_hooks'].append(dict(type='CompileHook', backend='aot_eager'))


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture(scope='module')
def start(config, tmp_path_factory):
    """Run a training with some options; return its last checkpoint, with losses and Runner."""

    def run_training(work_dir=None, **options):
        work_dir = work_dir or tmp_path_factory.mktemp('run')
        # MMEngine names a run by the second, and runs of one name share their log.
        named = dict(experiment_name=str(work_dir))
        options['cfg_options'] = {**copy.deepcopy(options.get('cfg_options') or {}), **named}
        seeded = TrainOptions(work_dir=str(work_dir), randomness=Randomness(seed=3), **options)
        runner = train(config, seeded)
        checkpoint = load_file(work_dir / 'epoch_2.pth')
        checkpoint['losses'] = checkpoint['message_hub']['log_scalars']['train/loss']['values']
        checkpoint['runner'] = runner
        return checkpoint

    return run_training


@pytest.fixture(scope='module')
def plain(start):
    return start()


OPTIONS = {
    'channels_last': dict(speed=Speed(channels_last=True)),
    'bf16': dict(speed=Speed(bf16=True)),
    'compile': dict(cfg_options=EAGER),
}


@pytest.fixture(scope='module', params=slow_after(2, OPTIONS))
def fast(request, start, tmp_path_factory):
    """A run with one of the options."""
    work_dir = tmp_path_factory.mktemp(request.param)
    options = OPTIONS[request.param]
    return request.param, options, work_dir, start(work_dir, **options)


def test_the_losses_are_those_of_plain_training(fast, plain):
    name, _, _, run = fast
    assert len(run['losses']) == 4
    assert run['losses'][0] != run['losses'][-1]
    tolerance = 0.02 if name == 'bf16' else 1e-4
    np.testing.assert_allclose(run['losses'], plain['losses'], rtol=tolerance)


def test_the_checkpoint_has_the_names_and_types_of_plain_training(fast, plain):
    _, _, _, run = fast
    for part in ('state_dict', 'ema_state_dict'):
        found, expected = (
            {name: (value.shape, value.dtype) for name, value in content[part].items()}
            for content in (run, plain)
        )
        assert found == expected


def test_resuming_gives_the_weights_of_the_unbroken_run(fast, start, tmp_path):
    _, options, work_dir, run = fast
    resume = Start(resume=str(work_dir / 'epoch_1.pth'))
    resumed = start(tmp_path, start=resume, **options)
    for part in ('state_dict', 'ema_state_dict'):
        for name, value in run[part].items():
            assert torch.equal(resumed[part][name], value), name


def test_channels_last_reaches_the_weights(start):
    run = start(speed=Speed(channels_last=True))
    weight = run['runner'].model.backbone.stem[3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_bf16_computes_in_bfloat16_and_keeps_the_weights_in_float32():
    layer = nn.Linear(4, 4)
    wrapper = speed.Bfloat16OptimWrapper(torch.optim.SGD(layer.parameters(), 0.1))
    with wrapper.optim_context(layer):
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32


def test_the_copied_config_has_the_options(start):
    cfg = start(speed=Speed(bf16=True, channels_last=True))['runner'].cfg
    assert cfg.optim_wrapper.type == 'Bfloat16OptimWrapper'
    assert cfg.channels_last
    assert 'casvit_mm.engine.speed' in cfg.custom_imports.imports


def test_two_precisions_at_once_are_refused(start, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(InputError, match=r'--amp \(float16\) and --bf16 are two precisions'):
        Speed(amp=True, bf16=True)


def test_a_host_without_compiler_is_told_what_is_missing(start, monkeypatch):
    def no_compiler(function):
        raise RuntimeError('InvalidCxxCompiler: No working C++ compiler found')

    monkeypatch.setattr(torch, 'compile', no_compiler)
    message = r'--compile: .*No working C\+\+ compiler found\n.*leave --compile out'
    with pytest.raises(InputError, match=f'(?s){message}'):
        start(speed=Speed(compile_backbone=True))


def gradients(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    sum(out.square().mean() for out in model(x)).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_compiled_gradient_checkpointing_keeps_gradients_and_running_statistics():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 32)
    one_block = dict(depths=(1,), embed_dims=(8,))
    plain = CASViT(one_block, out_indices=(0,), with_cp=True)
    compiled = copy.deepcopy(plain)
    compiled.compile(backend='aot_eager')
    torch.testing.assert_close(gradients(compiled, x), gradients(plain, x), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(dict(compiled.named_buffers()), dict(plain.named_buffers()))


# Compiling takes a minute for four stages.
ONE_STAGE = {
    'model.backbone.arch.depths': [1],
    'model.backbone.arch.embed_dims': [8],
    'model.backbone.out_indices': [0],
    'model.head.in_channels': 8,
}


@pytest.mark.slow
def test_the_compiler_of_torch_trains_as_plain_training_does(start):
    compiled, plain = (
        start(speed=Speed(compile_backbone=c), cfg_options=ONE_STAGE) for c in (True, False)
    )
    np.testing.assert_allclose(compiled['losses'], plain['losses'], rtol=1e-3)


def launch(config, work_dir, *options):
    launcher = ['-m', 'casvit_mm.launch', '--nproc-per-node=2']
    launcher += ['--master-port', free_port()]
    result = run_command(
        *[sys.executable, *launcher, 'tools/train.py', config, '--launcher', 'pytorch'],
        *['--work-dir', work_dir, '--seed', '3', *options],
        PYTHONPATH=os.pathsep.join([str(ROOT / 'tests'), os.environ.get('PYTHONPATH', '')]),
        CUDA_VISIBLE_DEVICES='-1',
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_two_processes_train_and_resume_with_all_options_together(config, tmp_path):
    # As --compile, without the minute that the C++ compiler takes in each process.
    eager = tmp_path / 'eager.py'
    eager.write_text(f'_base_ = {config!r}\ncustom_hooks = {EAGER["custom_hooks"]!r}\n')
    options = ['--bf16', '--channels-last', '--cfg-options']
    options += [f'{key}={value}' for key, value in ONE_STAGE.items()]
    launch(str(eager), tmp_path, *options, 'train_cfg.max_epochs=1')
    launch(str(eager), tmp_path, '--resume', *options, 'train_cfg.max_epochs=2')
    first, last = (load_file(tmp_path / f'epoch_{epoch}.pth') for epoch in (1, 2))
    assert (first['meta']['iter'], last['meta']['iter']) == (1, 2)
    assert 'backbone.stem.0.weight' in last['state_dict']
    assert not torch.equal(*(c['state_dict']['backbone.stem.0.weight'] for c in (first, last)))


@pytest.mark.slow
def test_two_processes_are_profiled_together_and_one_speaks(config, tmp_path):
    assert launch(config, tmp_path, '--profile-data', '2').count('model, training step') == 1


@pytest.fixture(scope='module')
def profiled(start, config, tmp_path_factory):
    """A work dir with a run in it that was profiled afterwards, and its files before that."""
    work_dir = tmp_path_factory.mktemp('profiled')
    start(work_dir)
    before = {path: path.stat().st_mtime_ns for path in work_dir.rglob('*') if path.is_file()}
    train(config, TrainOptions(work_dir=str(work_dir), profile_data=3))
    return work_dir, before


def test_profiling_leaves_the_run_in_the_work_dir_as_it_is(profiled):
    _, before = profiled
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_profiling_leaves_a_log_and_no_checkpoint(profiled):
    work_dir, before = profiled
    new = [path for path in work_dir.rglob('*') if path.is_file() and path not in before]
    assert all(path.is_relative_to(work_dir / 'profile') for path in new)
    assert {path.suffix for path in new} == {'.py', '.log', '.json'}
    found = json.loads((work_dir / 'profile/profile.json').read_text())
    assert found['processes'] == 1
    assert min(found['loader']['images_per_second'], found['model']['ms_per_batch']) > 0


def test_profiling_prints_both_rates_and_the_limit(config, tmp_path, capsys):
    options = {'train_dataloader.num_workers': 1}
    train(config, TrainOptions(work_dir=str(tmp_path), profile_data=2, cfg_options=options))
    printed = capsys.readouterr().out
    for line in (r'data loader, 1 worker +\S+ +[\d.]+', r'model, training step +\S+ +[\d.]+'):
        assert re.search(line, printed), printed
    assert re.search('The (data loader|model) is the limit', printed)
    assert re.search(r'A training step takes [1-9]\d* MiB at most', printed)


def test_profiling_training_by_iterations_ends_before_the_first(config, tmp_path):
    options = {
        'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=5),
        'train_dataloader.sampler.type': 'InfiniteSampler',
        'param_scheduler': [dict(type='PolyLR', by_epoch=False, end=5)],
    }
    runner = train(
        config, TrainOptions(work_dir=str(tmp_path), profile_data=1, cfg_options=options)
    )
    assert runner.iter == 0


def test_batches_made_ahead_by_workers_are_not_timed(monkeypatch):
    class Loader:
        num_workers, prefetch_factor = 2, 2

        def __iter__(self):
            for batch in range(100):
                clock.now += 0 if batch < 4 else 1
                yield dict(inputs=[batch] * 5)

    clock = SimpleNamespace(now=0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(profiling, 'time', clock)
    kept, reading = profiling._time_loader(Loader(), 10)
    assert (reading.images, reading.seconds, reading.milliseconds) == (50, 10, 1000)
    assert [batch['inputs'][0] for batch in kept] == [8, 9, 10, 11, 12, 13]


def test_no_batches_cannot_be_profiled(config, tmp_path):
    with pytest.raises(InputError, match='--profile-data needs at least 1 batch, got 0'):
        train(config, TrainOptions(work_dir=str(tmp_path), profile_data=0))


SLOW, FAST = Throughput(100, 10, 10.0), Throughput(100, 10, 2.5)


def test_a_loader_slower_than_the_model_is_named_and_workers_advised():
    advice = advise(SLOW, FAST, workers=2, cpus=8)
    assert 'The data loader is the limit: the model waits 75% of the time.' in advice
    assert 'num_workers=8' in advice


def test_more_workers_than_cores_are_not_advised():
    assert 'more would not help' in advise(SLOW, FAST, workers=8, cpus=8)


def test_files_much_larger_than_the_models_images_are_named():
    assert 'about 2000 px a side and the model gets 224' in advise(SLOW, FAST, 8, 8, (2000, 224))
    assert 'px' not in advise(SLOW, FAST, 8, 8, (250, 224))


def test_a_model_slower_than_the_loader_is_named():
    advice = advise(FAST, SLOW, workers=2, cpus=8)
    assert 'The model is the limit: the data loader could give 4.0 times as many' in advice
    assert '--bf16' in advice


def test_without_workers_both_times_add_up():
    advice = advise(FAST, SLOW, workers=0, cpus=8)
    assert 'take turns: about 8.0 images/s, 20% of the time spent reading' in advice
    assert 'num_workers=8' in advice
