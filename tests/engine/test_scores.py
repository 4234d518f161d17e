"""Early stopping that a resumed run goes on with, and what a score near 0 is called."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from casvit_mm.engine.scores import TOP1, EarlyStopHook, LowScoreHook

AP = 'coco/bbox_mAP'


def runner_of(hub=None, iterations=50):
    name = f'scores{runner_of.count}'
    runner_of.count += 1
    return SimpleNamespace(
        message_hub=hub or MessageHub.get_instance(name),
        logger=logging.getLogger('scores'),
        train_loop=SimpleNamespace(stop_training=False),
        iter=iterations,
    )


runner_of.count = 0


def validate(runner, hook, *scores):
    for score in scores:
        hook.after_val_epoch(runner, {AP: score})
    return runner.train_loop.stop_training


def test_training_ends_after_so_many_validations_without_a_better_score():
    runner, hook = runner_of(), EarlyStopHook(AP, patience=2)
    assert not validate(runner, hook, 0.1, 0.2, 0.2)
    assert not validate(runner, hook, 0.2001, 0.1)
    assert validate(runner, hook, 0.2001)


def test_a_resumed_run_goes_on_counting_and_one_that_had_ended_stays_ended():
    runner, hook = runner_of(), EarlyStopHook(AP, patience=3)
    validate(runner, hook, 0.5, 0.4, 0.4)
    again, resumed = runner_of(runner.message_hub), EarlyStopHook(AP, patience=3)
    resumed.before_train(again)
    assert not again.train_loop.stop_training
    assert validate(again, resumed, 0.45)
    ended, once_more = runner_of(runner.message_hub), EarlyStopHook(AP, patience=3)
    once_more.before_train(ended)
    assert ended.train_loop.stop_training


def test_the_count_is_in_the_checkpoint_that_is_written_after_the_validation():
    from mmengine.hooks import CheckpointHook
    from mmengine.runner import get_priority

    assert get_priority(EarlyStopHook.priority) < get_priority(CheckpointHook.priority)


@pytest.mark.parametrize(
    ('iterations', 'score', 'said'),
    [(50, 0.0, 'that is early'), (5000, 0.0, 'browse-data CONFIG --data YAML'), (50, 0.3, '')],
)
def test_a_score_near_0_is_called_what_it_is(iterations, score, said, caplog):
    caplog.set_level(logging.INFO, logger='scores')
    validate(runner_of(iterations=iterations), LowScoreHook(AP), score)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


@pytest.mark.parametrize(('score', 'said'), [(0.24, True), (0.25, False)])
def test_a_classifier_that_is_no_better_than_a_guess_is_called_what_it_is(score, said, caplog):
    caplog.set_level(logging.INFO, logger='scores')
    runner = runner_of(iterations=50)
    dataset = SimpleNamespace(metainfo=dict(classes=('a', 'b', 'c', 'd')))
    runner.val_dataloader = SimpleNamespace(dataset=dataset)
    LowScoreHook(TOP1).after_val_epoch(runner, {TOP1: score})
    assert ('0.240, less than a guess among 4 classes has, after 50' in caplog.text) is said
