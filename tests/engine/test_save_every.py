"""States that are saved inside an epoch, of runs that are killed there."""

import math
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from mmengine.config import Config
from tiny_training import train_tiny

from casvit_mm import InputError
from casvit_mm.engine import TrainOptions, checkpoints
from casvit_mm.engine.resume import make_resumable
from casvit_mm.weights.reading import load_file

FAST = {'model.seconds': 0, 'train_cfg.max_epochs': 2, 'train_dataloader.num_workers': 0}
KILLED = {'custom_hooks.0.rank': 0, 'custom_hooks.0.fail': 'killed'}  # in the fourth iteration


def test_a_killed_run_goes_on_inside_the_epoch_and_equals_an_unbroken_one(tmp_path):
    whole = train_tiny(tmp_path / 'whole', **FAST)
    with pytest.raises(RuntimeError, match='killed'):
        train_tiny(tmp_path / 'run', save_minutes=1e-9, **FAST, **KILLED)
    assert load_file(tmp_path / 'run/interrupted.pth')['meta']['iter'] == 3
    resumed = train_tiny(tmp_path / 'run', save_minutes=1e-9, resume='auto', **FAST)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    # What is saved inside an epoch does not go on in the checkpoint of its end.
    info = load_file(tmp_path / 'run/epoch_1.pth')['message_hub']['runtime_info']
    assert info['batches_done'] == 0
    assert not (tmp_path / 'run/interrupted.pth').exists()


def test_it_is_saved_after_the_minutes_and_not_before(tmp_path):
    times = iter(range(0, 100000, 25))  # seconds from one look at the clock to the next
    with patch.object(checkpoints, 'time', SimpleNamespace(monotonic=lambda: next(times))):
        train_tiny(tmp_path, save_minutes=1.5, **FAST)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 1 <= log.count('--save-every: saved after iteration') <= 6


def test_accumulated_gradients_are_waited_for(tmp_path):
    changes = {**FAST, 'optim_wrapper.accumulative_counts': 4}
    train_tiny(tmp_path, save_minutes=1e-9, **changes)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'saved after iteration 4' in log
    assert 'saved after iteration 3' not in log


@pytest.mark.parametrize('minutes', [0, -1, math.nan])
def test_what_is_no_time_is_refused(tmp_path, minutes):
    with pytest.raises(InputError, match='--save-every must be a number of minutes above 0'):
        train_tiny(tmp_path, save_minutes=minutes)


def test_a_checkpoint_hook_that_cannot_do_so_is_named():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=1, by_epoch=True),
            default_hooks=dict(checkpoint=dict(type='OwnCheckpointHook')),
        )
    )
    with pytest.raises(InputError, match='--save-every needs the CheckpointHook'):
        make_resumable(cfg, TrainOptions(save_minutes=5))
