"""A resumed run follows the schedule of its config, as a run by it from the start would."""

import itertools

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from casvit_mm.engine import checkpoints, hooks, loops  # noqa: F401  they register
from casvit_mm.engine.resumed_schedule import ResumedScheduleHook, check_length  # noqa: F401
from casvit_mm.errors import InputError

EPOCH = 4  # iterations
_number = itertools.count()


class _Numbers(Dataset):
    def __len__(self):
        return EPOCH

    def __getitem__(self, index):
        return torch.ones(1)


class _Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleList([nn.Linear(1, 1), nn.BatchNorm1d(1)])

    def forward(self, inputs, mode='tensor'):
        return dict(loss=sum(p.sum() for p in self.parameters()))

    def train_step(self, data, optim_wrapper):
        return super().train_step(dict(inputs=data), optim_wrapper)


@HOOKS.register_module()
class _Rates(Hook):
    """Notes what every iteration is trained by."""

    def __init__(self):
        self.rates = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.param_groups
        self.rates.append([(g['lr'], g['momentum'], g['initial_lr']) for g in groups])


def run(work_dir, schedule, length, resume=None, lr=0.1):
    """Train, and return what each iteration was trained by."""
    runner = Runner(
        _Model(),
        str(work_dir),
        train_dataloader=dict(
            batch_size=1, dataset=_Numbers(), sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        train_cfg=dict(
            type='ResumableEpochLoop' if 'max_epochs' in length else 'ResumableIterLoop', **length
        ),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.1),
            paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'backbone.0': dict(lr_mult=0.5)}),
        ),
        param_scheduler=[dict(part) for part in schedule],
        default_hooks=dict(
            checkpoint=dict(
                type='SafeCheckpointHook',
                by_epoch='max_epochs' in length,
                interval=1 if 'max_epochs' in length else EPOCH,
            )
        ),
        custom_hooks=[
            dict(type='_Rates'),
            dict(type='PlainCheckpointHook'),
            dict(type='ResumedScheduleHook'),
        ],
        load_from=resume and str(resume),
        resume=resume is not None,
        experiment_name=f'run{next(_number)}',
        default_scope='mmengine',
        randomness=dict(seed=1),
    )
    runner.train()
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, _Rates)]
    return hook.rates


WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3)


def by_epochs(end):
    return [
        WARM_UP,
        dict(type='CosineAnnealingLR', begin=0, end=end, T_max=end, convert_to_iter_based=True),
        dict(type='MultiStepLR', milestones=[end - 1], begin=0, end=end),
        dict(type='LinearMomentum', start_factor=0.5, begin=0, end=end),
    ]


def by_iterations(end):
    return [WARM_UP, dict(type='PolyLR', power=0.9, begin=3, end=end, by_epoch=False)]


@pytest.mark.parametrize(
    ('schedule', 'unit', 'old', 'new', 'resumed'),
    [
        (by_epochs, 'epochs', 2, 4, 2),
        (by_epochs, 'epochs', 4, 3, 2),
        (by_epochs, 'epochs', 3, 3, 2),
        (by_iterations, 'iters', 8, 16, 8),
        (by_iterations, 'iters', 16, 12, 8),
        (by_iterations, 'iters', 12, 12, 8),
    ],
)
def test_the_rates_are_those_of_a_run_by_the_new_schedule(
    tmp_path, schedule, unit, old, new, resumed
):
    run(tmp_path / 'old', schedule(old), {f'max_{unit}': old})
    expected = run(tmp_path / 'new', schedule(new), {f'max_{unit}': new})
    checkpoint = tmp_path / f'old/{unit[:-1]}_{resumed}.pth'
    rates = run(tmp_path / 'on', schedule(new), {f'max_{unit}': new}, checkpoint)
    assert rates == expected[-len(rates) :]
    assert len(rates) == (new - resumed) * (EPOCH if unit == 'epochs' else 1)


def test_another_base_rate_is_followed_too(tmp_path):
    run(tmp_path / 'old', by_epochs(2), dict(max_epochs=2))
    expected = run(tmp_path / 'new', by_epochs(2), dict(max_epochs=2), lr=0.01)
    checkpoint = tmp_path / 'old/epoch_1.pth'
    rates = run(tmp_path / 'on', by_epochs(2), dict(max_epochs=2), checkpoint, lr=0.01)
    assert rates == expected[EPOCH:]


def test_a_schedule_that_follows_from_validations_is_refused_if_it_is_another(tmp_path):
    run(tmp_path / 'old', by_epochs(2), dict(max_epochs=2))
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss', rule='less')]
    with pytest.raises(InputError, match=r'4 -> 1 schedulers.*validations of the past'):
        run(tmp_path / 'on', plateau, dict(max_epochs=3), tmp_path / 'old/epoch_1.pth')


@pytest.mark.parametrize(
    ('train_cfg', 'begun', 'message'),
    [
        (dict(max_epochs=2), 0, 'at the end of epoch 3, and this run ends after 2'),
        (dict(max_epochs=3), 2, 'in epoch 4, and this run ends after 3'),
        (dict(max_iters=11), 0, 'at the end of iteration 12, and this run ends after 11'),
    ],
)
def test_a_checkpoint_beyond_the_end_of_the_run_is_refused(train_cfg, begun, message):
    content = dict(
        meta=dict(epoch=3, iter=12), message_hub=dict(runtime_info=dict(batches_done=begun))
    )
    with pytest.raises(InputError, match=message):
        check_length(Config(dict(train_cfg=train_cfg)), content, 'epoch_3.pth')


def test_a_run_that_is_complete_says_so():
    content = dict(meta=dict(epoch=3, iter=12), message_hub={})
    cfg = Config(dict(train_cfg=dict(max_epochs=3)))
    assert 'nothing is trained' in check_length(cfg, content, 'epoch_3.pth')[0]
