"""The schedule follows the length of the training, in every form of both."""

import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from casvit_mm.engine import Recipe, TrainOptions
from casvit_mm.engine.schedule import shorten_warm_up, stretch_schedule

LINEAR = dict(type='LinearLR', by_epoch=False, begin=0, end=500)


@DATASETS.register_module()
class _Numbers(BaseDataset):
    def load_data_list(self):
        return [dict(label=min(i, 1)) for i in range(20)]

    def get_cat_ids(self, idx):
        return [self.get_data_info(idx)['label']]


def config(scheduler=LINEAR, dataset=None, **more):
    loader = dict(batch_size=2, dataset=dataset or dict(type='_Numbers'))
    return Config(
        dict(
            train_cfg=dict(max_epochs=3),
            train_dataloader=loader,
            param_scheduler=scheduler,
            default_hooks=dict(logger=dict(type='LoggerHook', interval=50)),
            **more,
        )
    )


@pytest.mark.parametrize('form', [LINEAR, [LINEAR]])
def test_warm_up_is_shortened_in_one_scheduler_and_in_several(form):
    cfg = config(form)
    (note,) = shorten_warm_up(cfg, 20)
    assert 'from 500 to 3 iterations, a tenth of the 30' in note
    assert 'end=3' in cfg.pretty_text


def test_without_a_scheduler_nothing_is_shortened_or_stretched():
    cfg = config(None)
    assert shorten_warm_up(cfg, 20) == stretch_schedule(cfg, TrainOptions()) == []
    assert cfg.default_hooks.logger.interval == 5


def test_one_scheduler_is_stretched():
    cfg = config(dict(type='PolyLR', by_epoch=False, begin=0, end=100))
    cfg.train_cfg = dict(max_iters=40)
    assert stretch_schedule(cfg, TrainOptions())
    assert cfg.param_scheduler.end == 40


@pytest.mark.parametrize('total', [1, 2])
def test_a_run_of_very_few_iterations_ends_within_the_warm_up(total):
    poly = dict(type='PolyLR', by_epoch=False, begin=100, end=200)
    cfg = config([dict(type='LinearLR', by_epoch=False, begin=0, end=100), poly])
    cfg.train_cfg = dict(max_iters=total)
    assert stretch_schedule(cfg, TrainOptions())
    assert [(s.begin, s.end) for s in cfg.param_scheduler] == [(0, 2), (2, 3)]


COSINE = dict(type='CosineAnnealingLR', begin=4, end=20, T_max=16, convert_to_iter_based=True)
STEPS = dict(type='MultiStepLR', begin=0, end=12, milestones=[8, 11], gamma=0.1)


@pytest.mark.parametrize(
    ('scheduler', 'train_cfg', 'expected'),
    [
        (STEPS, dict(max_epochs=24), dict(end=24, milestones=[16, 22])),
        (COSINE, dict(max_epochs=30), dict(begin=6, end=30, T_max=24)),
        (dict(COSINE, T_max=8), dict(max_epochs=30), dict(begin=6, end=30, T_max=12)),
        (dict(STEPS, by_epoch=False), dict(max_iters=6), dict(end=6, milestones=[4, 6])),
    ],
    ids=['steps', 'cosine', 'cosine of another period', 'iterations'],
)
def test_every_length_in_a_scheduler_is_stretched(scheduler, train_cfg, expected):
    cfg = config(scheduler)
    cfg.train_cfg = train_cfg
    assert 'rescaled to' in stretch_schedule(cfg, TrainOptions())[0]
    assert dict(cfg.param_scheduler) == {**scheduler, **expected}


@pytest.mark.parametrize(
    ('schedulers', 'train_cfg'),
    [
        ([STEPS, LINEAR], dict(max_epochs=12)),
        # A warm-up is not all of a schedule whose other part has no end.
        ([LINEAR, dict(type='StepLR', by_epoch=False, step_size=9)], dict(max_iters=90000)),
    ],
    ids=['the same length', 'no end'],
)
def test_other_schedules_stay_as_they_are(schedulers, train_cfg):
    cfg = config(schedulers)
    cfg.train_cfg = train_cfg
    assert stretch_schedule(cfg, TrainOptions()) == []
    assert cfg.param_scheduler == schedulers


REPEATED = dict(type='RepeatDataset', times=4, dataset=dict(type='_Numbers'))


@pytest.mark.parametrize(
    ('dataset', 'total'),
    [
        (REPEATED, 120),
        (dict(type='MultiImageMixDataset', pipeline=[], dataset=REPEATED), 120),
        (dict(REPEATED, dataset=REPEATED), 480),
        # One image of a class that 1/20 of them have is repeated sqrt(0.9 / 0.05) times.
        (dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=dict(type='_Numbers')), 36),
    ],
)
def test_the_schedule_counts_what_the_wrappers_of_a_dataset_repeat(dataset, total):
    notes = shorten_warm_up(config(dataset=dataset), 20)
    assert f'of the {total} that' in notes[0]


def test_a_config_without_a_logger_has_a_schedule_too():
    cfg = config()
    cfg.default_hooks = {}
    assert shorten_warm_up(cfg, 20)


def test_a_longer_run_mixes_images_for_the_same_share_of_it():
    switch = dict(type='PipelineSwitchHook', switch_epoch=80, switch_pipeline=[])
    cfg = config(dict(type='CosineAnnealingLR', begin=50, end=100, T_max=50), custom_hooks=[switch])
    cfg.train_cfg = dict(max_epochs=150, dynamic_intervals=[(80, 1)])
    assert stretch_schedule(cfg, TrainOptions())
    assert cfg.custom_hooks[0].switch_epoch == 120
    assert cfg.train_cfg.dynamic_intervals == [(120, 1)]


def test_a_shorter_run_is_validated_and_saved_as_often_as_the_longer_one():
    cfg = config(STEPS)
    cfg.train_cfg = dict(max_epochs=3, val_interval=4)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=4)
    notes = stretch_schedule(cfg, TrainOptions(recipe=Recipe(epochs=3)))
    assert dict(cfg.param_scheduler) == {**STEPS, 'end': 3, 'milestones': [2, 3]}
    assert (cfg.train_cfg.val_interval, cfg.default_hooks.checkpoint.interval) == (1, 1)
    assert 'train_cfg.val_interval 4 -> 1, for the shorter run' in notes


def test_an_interval_that_was_asked_for_stays():
    cfg = config(STEPS)
    cfg.train_cfg = dict(max_epochs=3, val_interval=2)
    given = {'train_cfg.val_interval': 2}
    stretch_schedule(cfg, TrainOptions(recipe=Recipe(epochs=3), cfg_options=given))
    assert cfg.train_cfg.val_interval == 2


def test_fewer_epochs_of_the_config_take_the_beginning_and_the_log_says_so():
    cfg = config(STEPS)
    cfg.train_cfg = dict(max_epochs=3, val_interval=4)
    (note,) = stretch_schedule(cfg, TrainOptions())
    assert 'the first 3 of the 12 epochs' in note
    assert (dict(cfg.param_scheduler), cfg.train_cfg.val_interval) == (STEPS, 4)
