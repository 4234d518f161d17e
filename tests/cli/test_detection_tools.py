"""The command lines, end to end, on a few generated images."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT, free_port, run_command
from mmengine.config import Config

pytest.importorskip('mmdet')
from casvit_mm.engine import Start, TrainOptions, evaluate, train
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
        '--logger',
        'tensorboard',
        '--cfg-options',
        *SHORT,
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return work_dir, result.stdout + result.stderr


def test_two_processes_train_and_keep_the_last_two_and_the_best_checkpoint(trained):
    work_dir, printed = trained
    best, *last = sorted(path.name for path in work_dir.glob('*.pth'))
    assert last == ['epoch_1.pth', 'epoch_2.pth']
    assert best.startswith('best_coco_bbox_mAP')
    # 8 images, 2 processes, 2 images each: 2 iterations per epoch.
    assert 'training: 2 epochs of 2 iterations' in printed
    assert load_file(work_dir / 'epoch_2.pth')['meta']['iter'] == 4


def test_warm_up_of_a_small_set_is_shortened_and_ends(trained):
    rates = [entry['lr'] for entry in read_scalars(trained[0]) if 'loss' in entry]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) > 5e-4
    assert 'warm-up shortened from 20 to 2 iterations' in trained[1]


def test_the_log_tells_rate_time_memory_and_losses(trained):
    work_dir, printed = trained
    (log,) = work_dir.glob('*/*.log')
    line = next(line for line in log.read_text().splitlines() if 'Epoch(train)' in line)
    for item in ('eta:', 'time:', 'img_per_s:', 'host_memory_mb:', 'loss:', 'loss_mask:', 'lr:'):
        assert item in line
    assert 'norms of the backbone learn' in printed
    assert re.search(r'next:\n  python tools/test.py .*best_', printed)


def test_the_console_has_short_lines_and_no_word_of_the_frameworks(trained):
    _, printed = trained
    for line in (
        r'epoch 1/2  loss \d+\.\d+  [\d.]+ img/s  \d+ s',
        r'epoch 2/2  box AP [\d.]+ .*mask AP',
    ):
        assert len(re.findall(f'^{line}', printed, re.MULTILINE)) == 1  # of two processes
    for noise in ('Epoch(train)', 'OneDL', 'mmengine', 'loading annotations', 'Warning'):
        assert noise not in printed
    too_long = [x for x in printed.splitlines() if len(x) > 100 and not x.startswith('  ')]
    assert all('/' in line.split()[0] or ' ' not in line.strip() for line in too_long), too_long


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


def test_evaluation_prints_tables_and_writes_metrics_and_pictures(trained, shapes, tmp_path):
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
        tmp_path / 'sub/metrics.json',
        '--show-dir',
        tmp_path / 'pictures',
        '--out-pred',
        tmp_path / 'predictions.json',
        '--analysis',
        tmp_path / 'errors',
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    written = json.loads((tmp_path / 'sub/metrics.json').read_text())
    assert {'coco/bbox_mAP', 'coco/segm_mAP', 'coco/bbox_AP_s/circle', 'seconds'} <= set(written)
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
    metrics = evaluate(str(copied), str(best), work_dir=str(tmp_path))
    last = [entry for entry in read_scalars(trained[0]) if 'coco/bbox_mAP' in entry]
    assert len(metrics) == len([key for key in last[0] if key.startswith('coco/')])
    assert list(Config.fromfile(copied).custom_imports.imports).count('casvit_mm.engine.hooks') == 1


def options(values):
    from mmengine.config import DictAction

    return {k: DictAction._parse_iterable(v) for k, v in (o.split('=') for o in values)}


@pytest.mark.slow
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
def test_one_process_trains_on_a_gpu_through_nccl(shapes, tmp_path, gpu):
    result = run_command(
        'tools/dist_train.sh',
        SHAPES,
        1,
        '--from-scratch',
        '--amp' if gpu.startswith('cuda') else '--bf16',
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
