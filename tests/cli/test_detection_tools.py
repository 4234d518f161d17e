"""The command lines, end to end, on a few generated images."""

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT, free_port, official_state_dict, run_command
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

pytest.importorskip('mmdet')
from casvit_mm import InputError, doctor
from casvit_mm.engine import Randomness, Speed, Start, TrainOptions, evaluate, train
from casvit_mm.engine.hooks import PlainCheckpointHook
from casvit_mm.launch import check_launch
from casvit_mm.ops import operator_source
from casvit_mm.plotting.training_curves import read_scalars
from casvit_mm.weights.reading import load_file

SHAPES = 'configs/maskrcnn_casvit_xs_shapes.py'
COCO = 'configs/maskrcnn_casvit_xs_coco.py'
SCRATCH = Start(from_scratch=True)
# A run of two epochs of two iterations each.
SHORT = [
    'train_cfg.max_epochs=2',
    'train_cfg.val_interval=1',
    'param_scheduler.1.end=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, shapes):
    """A work dir after two-process training through the launcher, and what it printed."""
    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        pytest.skip('two processes need two GPUs or none')
    work_dir = tmp_path_factory.mktemp('run') / 'work dir'
    result = run_command(
        'tools/dist_train.sh',
        SHAPES,
        2,
        '--from-scratch',
        '--data',
        shapes,
        '--work-dir',
        work_dir,
        '--seed',
        0,
        '--tensorboard',
        '--cfg-options',
        *SHORT,
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return work_dir, result.stdout + result.stderr


def test_two_processes_train_and_keep_the_last_and_the_best_checkpoint(trained):
    work_dir, printed = trained
    names = sorted(path.name for path in work_dir.glob('*.pth'))
    assert names[-1] == 'epoch_2.pth'
    assert len(names) == 2
    assert names[0].startswith('best_coco_bbox_mAP')
    # 8 images, 2 processes, 2 images each: 2 iterations per epoch.
    assert '[2][2/2]' in printed
    assert load_file(work_dir / 'epoch_2.pth')['meta']['iter'] == 4


def test_warm_up_of_a_small_set_is_shortened_and_ends(trained):
    rates = [entry['lr'] for entry in read_scalars(trained[0]) if 'loss' in entry]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) > 5e-4
    assert 'warm-up shortened from 20 to 2 iterations' in trained[1]


def test_the_log_tells_rate_time_memory_and_losses(trained):
    _, printed = trained
    line = next(line for line in printed.splitlines() if 'Epoch(train)' in line)
    for item in ('eta:', 'time:', 'img_per_s:', 'host_memory_mb:', 'loss:', 'loss_mask:', 'lr:'):
        assert item in line
    assert 'norms of the backbone learn' in printed
    assert re.search(r'evaluate the best: python tools/test.py .*best_', printed)


def test_tensorboard_holds_the_losses_and_the_scores(trained):
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    (path,) = trained[0].rglob('events.out.tfevents.*')
    events = event_accumulator.EventAccumulator(str(path)).Reload()
    logged = {round(e.value, 4) for e in events.Scalars('loss')}
    expected = {round(e['loss'], 4) for e in read_scalars(trained[0]) if 'loss' in e}
    assert logged == expected
    assert len(events.Scalars('coco/bbox_mAP')) == 2


def test_running_statistics_are_learnt_and_averaged_over_the_processes(trained):
    state = load_file(trained[0] / 'epoch_2.pth')['state_dict']
    assert state['backbone.stem.1.running_mean'].abs().max() > 0
    assert 'AverageBuffersHook' in (trained[0] / Path(SHAPES).name).read_text()


def test_evaluation_prints_tables_and_writes_figures_and_pictures(trained, shapes, tmp_path):
    work_dir, _ = trained
    result = run_command(
        'tools/dist_test.sh',
        SHAPES,
        work_dir / 'epoch_2.pth',
        2,
        '--data',
        shapes,
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'sub/figures.json',
        '--show-dir',
        tmp_path / 'pictures',
        '--out-pred',
        tmp_path / 'predictions.json',
        '--analysis',
        tmp_path / 'errors',
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads((tmp_path / 'sub/figures.json').read_text())
    assert {'coco/bbox_mAP', 'coco/segm_mAP', 'coco/bbox_AP_s/circle', 'seconds'} <= set(figures)
    for text in ('AP75', 'box', 'mask', 'circle', 'square', 'triangle'):
        assert text in result.stdout
    # Each process saw half of the images; what is written holds them all.
    predictions = json.loads((tmp_path / 'predictions.json').read_text())
    assert {entry['image_id'] for entry in predictions} == {1, 2, 3, 4}
    assert (tmp_path / 'errors/confusion_matrix.png').is_file()
    pictures = sorted(path.name for path in (tmp_path / 'pictures').glob('*.png'))
    assert pictures == ['0001.png', '0002.png', '0003.png', '0004.png']


def test_the_command_that_training_ends_with_works(trained, tmp_path):
    copied, best = trained[0] / Path(SHAPES).name, next(trained[0].glob('best_*.pth'))
    figures = evaluate(str(copied), str(best), work_dir=str(tmp_path))
    last = [entry for entry in read_scalars(trained[0]) if 'coco/bbox_mAP' in entry]
    assert len(figures) == len([key for key in last[0] if key.startswith('coco/')])
    assert list(Config.fromfile(copied).custom_imports.imports).count('casvit_mm.engine.hooks') == 1


def options(values):
    from mmengine.config import DictAction

    return {k: DictAction._parse_iterable(v) for k, v in (o.split('=') for o in values)}


def test_resuming_continues_where_the_last_checkpoint_ended(trained, shapes, tmp_path):
    path = trained[0] / 'epoch_2.pth'
    longer = options(SHORT) | {'train_cfg.max_epochs': 3}
    runner = train(
        str(ROOT / SHAPES),
        TrainOptions(
            data=str(shapes),
            work_dir=str(tmp_path),
            start=Start(resume=str(path), from_scratch=True),
            cfg_options=longer,
        ),
    )
    # The launcher's run took 2 iterations per epoch; one process takes 4.
    assert runner.epoch == 3
    assert runner.iter == 4 + 4
    history = runner.message_hub.get_scalar('train/loss').data[0]
    before = load_file(path)['message_hub']['log_scalars']['train/loss']['values']
    assert history[: len(before)].tolist() == before
    assert len(history) == len(before) + 4


def test_checkpoints_hold_plain_values_only(trained):
    content = torch.load(trained[0] / 'epoch_2.pth', weights_only=True)
    assert {'state_dict', 'optimizer', 'param_schedulers', 'message_hub'} <= set(content)


def test_resuming_never_executes_the_checkpoints_text(tmp_path):
    marker = tmp_path / 'ran'
    checkpoint = dict(state_dict={'weight': torch.zeros(1, 1), 'bias': torch.zeros(1)})
    checkpoint['meta'] = dict(config=f'import os; os.mkdir({str(marker)!r})')
    runner = type('Runner', (), dict(model=torch.nn.Linear(1, 1), _load_from='x.pth'))()
    runner.model.backbone = torch.nn.Identity()
    PlainCheckpointHook().after_load_checkpoint(runner, checkpoint)
    assert 'config' not in checkpoint['meta']
    assert not marker.exists()


@HOOKS.register_module()
class _NeverTrains(Hook):
    """Fails the test if training starts."""

    def before_train(self, runner):
        pytest.fail('training started in spite of bad input')


class _Stop(Exception):
    """Ends a training that is ready to start."""


@HOOKS.register_module()
class _StopBeforeTraining(Hook):
    def before_train(self, runner):
        raise _Stop(runner)


def ready_runner(**arguments):
    """Return the Runner at the moment before its first iteration."""
    cfg_options = {
        'custom_hooks': [dict(type='_StopBeforeTraining')],
        **arguments.pop('cfg_options', {}),
    }
    config = ROOT / arguments.pop('config', COCO)
    with pytest.raises(_Stop) as caught:
        train(str(config), TrainOptions(cfg_options=cfg_options, **arguments))
    return caught.value.args[0]


@pytest.mark.slow
def test_auto_scale_lr_scales_from_the_published_total_batch(shapes, tmp_path):
    common = dict(start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    plain = ready_runner(**common)
    scaled = ready_runner(auto_scale_lr=True, **common)
    rates = [r.optim_wrapper.param_groups[0]['initial_lr'] for r in (plain, scaled)]
    assert rates == [2e-4, pytest.approx(2e-4 * 4 / 32)]


def test_from_scratch_unfreezes_the_norms_and_pretrained_keeps_them_frozen(shapes, tmp_path):
    common = dict(data=str(shapes), work_dir=str(tmp_path))
    model = ready_runner(start=SCRATCH, **common).model.train()
    assert model.backbone.stem[1].training
    state = official_state_dict('xs')
    torch.save(dict(model=state), tmp_path / 'w.pth')
    init = {'model.backbone.init_cfg.checkpoint': str(tmp_path / 'w.pth')}
    model = ready_runner(cfg_options=init, **common).model.train()
    assert not model.backbone.stem[1].training
    assert torch.equal(model.backbone.stem[0].weight.cpu(), state['patch_embed.0.weight'])


def test_from_scratch_keeps_another_backbones_own_random_initialisation(shapes, tmp_path):
    config = 'configs/maskrcnn_resnet50_light.py'
    runner = ready_runner(config=config, start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    # Kaiming's, by output channels: sqrt(2 / (64 * 7 * 7)); PyTorch's default is twice as wide.
    assert runner.model.backbone.conv1.weight.std().item() == pytest.approx(0.0253, rel=0.05)


def test_from_scratch_takes_a_backbone_that_has_no_norm_eval(shapes, tmp_path):
    config = 'configs/maskrcnn_repvit_m0_9_light.py'
    runner = ready_runner(config=config, start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    assert type(runner.model.backbone).__name__ == 'TIMMBackbone'


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(shapes, tmp_path):
    common = dict(start=SCRATCH, data=str(shapes), work_dir=str(tmp_path))
    seeded = [Randomness(seed, deterministic=True) for seed in (3, 3, 4)]
    try:
        stems = [ready_runner(randomness=r, **common).model.backbone.stem[0].weight for r in seeded]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(stems[0], stems[1])
    assert not torch.equal(stems[0], stems[2])


@pytest.mark.slow
def test_mmdets_own_train_tool_runs_the_config_copied_to_the_work_dir(trained, tmp_path):
    tool = Path(importlib.util.find_spec('mmdet').origin).parent / '.mim/tools/train.py'
    if not tool.is_file():
        pytest.skip('this mmdet was installed without its tools')
    result = run_command(
        sys.executable,
        tool,
        trained[0] / Path(SHAPES).name,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'launcher=none',
        'train_cfg.max_epochs=1',
        'param_scheduler.1.end=1',
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_mmdets_own_test_tool_imports_after_the_operators_are_installed(tmp_path):
    if operator_source() == 'compiled':
        pytest.skip('this mmcv has the operators')
    mmdet, mmcv = (Path(importlib.util.find_spec(n).origin).parent for n in ('mmdet', 'mmcv'))
    tool = mmdet / '.mim/tools/test.py'
    if not tool.is_file():
        pytest.skip('this mmdet was installed without its tools')
    shutil.copytree(
        mmcv, tmp_path / 'mmcv', ignore=shutil.ignore_patterns('__pycache__', '_ext.py')
    )
    env = dict(PYTHONPATH=str(tmp_path))
    before = run_command(sys.executable, tool, '--help', **env)
    assert "No module named 'mmcv._ext'" in before.stderr
    installed = run_command(sys.executable, '-m', 'casvit_mm.ops', 'install', **env)
    assert str(tmp_path) in installed.stdout
    after = run_command(sys.executable, tool, '--help', **env)
    assert after.returncode == 0, after.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_one_process_trains_on_a_gpu_through_nccl(shapes, tmp_path):
    result = run_command(
        'tools/dist_train.sh',
        SHAPES,
        1,
        '--from-scratch',
        '--amp',
        '--data',
        shapes,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *SHORT,
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / 'epoch_2.pth').is_file()


def bad_training(**arguments):
    """Start training in process; every bad input must end it before it starts."""
    cfg_options = {'custom_hooks': [dict(type='_NeverTrains')], **arguments.pop('cfg_options', {})}
    config = arguments.pop('config', str(ROOT / COCO))
    return train(config, TrainOptions(cfg_options=cfg_options, **arguments))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), r"'checkpoints/cas-vit-xs\.pth' .*do not exist(?s:.*)--from-scratch"),
        (dict(config='configs/nowhere.py'), r'configs/nowhere\.py does not exist'),
        (
            dict(start=SCRATCH),
            r'instances_train2017\.json (?s:.*)does not exist(?s:.*)train2017\.zip(?s:.*)--data',
        ),
        (
            dict(start=SCRATCH, cfg_options={'model.backbone.drop_path': 0.1}),
            "model.backbone has no argument 'drop_path'; did you mean 'drop_path_rate'",
        ),
        (
            dict(start=SCRATCH, cfg_options={'model.backbone.arch': 'l'}),
            "model.backbone: unknown arch 'l'",
        ),
        (dict(start=SCRATCH, launcher='pytorch'), r'tools/dist_train\.sh'),
    ],
)
def test_bad_input_ends_before_training(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    with pytest.raises(InputError, match=message):
        bad_training(work_dir=str(tmp_path), **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a host without GPU')
def test_amp_without_gpu_is_refused(tmp_path):
    with pytest.raises(InputError, match='--amp needs a GPU'):
        bad_training(start=SCRATCH, speed=Speed(amp=True), work_dir=str(tmp_path))


def test_a_pretrained_file_that_does_not_fit_ends_before_training(shapes, tmp_path):
    torch.save({'stem.0.weight': torch.zeros(24, 3, 3, 3), 'x': torch.zeros(1)}, tmp_path / 'w.pth')
    with pytest.raises(InputError, match=r'w\.pth.* 1/535 keys matched'):
        bad_training(
            data=str(shapes),
            work_dir=str(tmp_path),
            cfg_options={'model.backbone.init_cfg.checkpoint': str(tmp_path / 'w.pth')},
        )


@pytest.mark.parametrize('entry', ['test', 'resume', 'load_from'])
@pytest.mark.parametrize('damage', ['truncated', 'other model', 'missing'])
def test_a_checkpoint_that_cannot_be_used_is_refused(trained, shapes, tmp_path, entry, damage):
    path = tmp_path / 'c.pth'
    source = trained[0] / 'epoch_2.pth'
    if damage == 'truncated':
        path.write_bytes(source.read_bytes()[:100_000])
    elif damage == 'other model':
        content = torch.load(source, weights_only=True)
        content['state_dict'].pop('neck.fpn_convs.0.conv.weight')
        torch.save(content, path)
    message = {
        'truncated': r"c\.pth' \(100000 bytes\) is cut short",
        'other model': r'(?s)\d+/\d+ keys matched.*missing: neck\.fpn_convs\.0\.conv\.weight',
        'missing': r"c\.pth' does not exist",
    }[damage]
    common = dict(config=str(ROOT / SHAPES), data=str(shapes), work_dir=str(tmp_path))
    run = {
        'test': lambda: evaluate(checkpoint=str(path), **common),
        'resume': lambda: bad_training(start=Start(resume=str(path), from_scratch=True), **common),
        'load_from': lambda: bad_training(
            cfg_options={'load_from': str(path), 'model.backbone.init_cfg': None}, **common
        ),
    }[entry]
    with pytest.raises(InputError, match=message):
        run()


def test_bad_input_on_two_processes_prints_one_message_and_no_traceback(tmp_path):
    result = run_command(
        'tools/dist_train.sh',
        COCO,
        2,
        '--from-scratch',
        '--data',
        tmp_path / 'a b.yaml',
        PORT=free_port(),
    )
    assert result.returncode == 2
    assert result.stderr.count('error: ') == 1
    assert 'a b.yaml (--data) does not exist' in result.stderr
    assert 'Traceback' not in result.stderr


def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf'port {port} .*PORT={port + 1}'):
            check_launch(2, 0, '127.0.0.1', port)
        check_launch(2, 1, '127.0.0.1', port)  # only host 0 opens it


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(InputError, match=r'2 processes asked for, but this host has 1 GPU'):
        check_launch(2, 0, '127.0.0.1', int(free_port()))


def test_launchers_pass_their_environment_and_arguments_on(tmp_path):
    (tmp_path / 'python').write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    (tmp_path / 'srun').write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    for name in ('python', 'srun'):
        (tmp_path / name).chmod(0o755)
    path = f'{tmp_path}:/usr/bin:/bin'
    cluster = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='node0', PORT='1234')

    def run(*command, **env):
        result = subprocess.run(
            command, cwd=ROOT, env=dict(PATH=path, **env), capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    printed = run('tools/dist_train.sh', 'c.py', '8', '--work-dir', 'a b', **cluster)
    for argument in (
        '--nnodes=2',
        '--node-rank=1',
        '--nproc-per-node=8',
        '--master-addr=node0',
        '--master-port=1234',
        'tools/train.py',
        'c.py',
        'a b',
    ):
        assert f'<{argument}>' in printed
    printed = run('tools/dist_test.sh', 'c.py', 'w.pth', '8', '--out', 'a b.json', **cluster)
    for argument in ('--nproc-per-node=8', 'tools/test.py', 'c.py', 'w.pth', 'a b.json'):
        assert f'<{argument}>' in printed
    printed = run('tools/slurm_train.sh', 'part', 'job', 'c.py', '--work-dir', 'a b', GPUS='16')
    for argument in ('--partition=part', '--ntasks=16', 'c.py', '--launcher', 'slurm', 'a b'):
        assert f'<{argument}>' in printed
    printed = run('tools/slurm_test.sh', 'part', 'job', 'c.py', 'w.pth', SRUN_ARGS='-x n1')
    for argument in ('tools/test.py', 'w.pth', '-x', 'n1'):
        assert f'<{argument}>' in printed


def test_doctor_names_the_cure_for_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor, 'find_spec', lambda name: name != 'mmdet' or None)
    _, faults = doctor.check_environment()
    cure = 'pip install -c constraints.txt onedl-mmdetection'
    assert ('mmdet: not installed', cure) in faults


def test_doctor_finds_this_environment_healthy():
    result = run_command(sys.executable, '-m', 'casvit_mm.doctor')
    assert result.returncode == 0, result.stdout + result.stderr
    for text in ('torch', 'mmdet', 'operators', 'roi_align', 'everything our models need is here'):
        assert text in result.stdout
