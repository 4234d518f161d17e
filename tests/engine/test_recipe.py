"""What --epochs, --iters, --batch, --lr and --early-stop make of a config."""

import pytest
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.engine import Recipe, TrainOptions
from casvit_mm.engine.recipe import set_recipe
from casvit_mm.engine.schedule import scale_learning_rate

EPOCHS, ITERATIONS = dict(max_epochs=12, val_interval=1), dict(max_iters=100, val_interval=10)


def config(train_cfg=EPOCHS, **more):
    return Config(
        dict(
            train_cfg=dict(train_cfg),
            val_cfg=dict(),
            train_dataloader=dict(batch_size=2),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            default_hooks=dict(checkpoint=dict(save_best='coco/bbox_mAP', rule='greater')),
            auto_scale_lr=dict(base_batch_size=16),
            **more,
        )
    )


@pytest.mark.parametrize(
    ('train_cfg', 'recipe', 'key'),
    [(EPOCHS, Recipe(epochs=5), 'max_epochs'), (ITERATIONS, Recipe(iterations=5), 'max_iters')],
)
def test_the_length_is_set_in_the_unit_of_the_config(train_cfg, recipe, key):
    cfg = config(train_cfg)
    set_recipe(cfg, TrainOptions(recipe=recipe))
    assert cfg.train_cfg[key] == 5


@pytest.mark.parametrize(
    ('train_cfg', 'recipe', 'message'),
    [
        (EPOCHS, Recipe(iterations=5), r'counts epochs, and has 12. Give --epochs N'),
        (ITERATIONS, Recipe(epochs=5), r'counts iterations, and has 100. Give --iters N'),
    ],
)
def test_the_other_unit_is_refused_by_the_right_option(train_cfg, recipe, message):
    with pytest.raises(InputError, match=message):
        set_recipe(config(train_cfg), TrainOptions(recipe=recipe))


@pytest.mark.parametrize(
    'recipe', [dict(epochs=0), dict(lr=-1.0), dict(lr=float('nan')), dict(batch=0)]
)
def test_numbers_must_be_positive(recipe):
    with pytest.raises(InputError, match='is not a positive number'):
        Recipe(**recipe)


def test_an_entry_given_twice_is_refused():
    options = TrainOptions(recipe=Recipe(lr=1.0), cfg_options={'optim_wrapper.optimizer.lr': 2.0})
    with pytest.raises(InputError, match='--lr and --cfg-options'):
        set_recipe(config(), options)


def rate(recipe):
    cfg, options = config(), TrainOptions(recipe=recipe)
    set_recipe(cfg, options)
    scale_learning_rate(cfg, options)
    assert not cfg.auto_scale_lr.enable  # MMEngine would scale once more
    return cfg.optim_wrapper.optimizer.lr


def test_the_rate_follows_the_batch_unless_it_is_given():
    assert rate(Recipe(batch=4)) == pytest.approx(1e-3 * 4 / 16)
    assert rate(Recipe(batch=4, lr=0.5)) == rate(Recipe(lr=0.5)) == 0.5


def test_early_stopping_follows_the_score_of_the_best_checkpoint():
    cfg = config(custom_hooks=[dict(type='EarlyStopHook', monitor='other', patience=9)])
    set_recipe(cfg, TrainOptions(recipe=Recipe(early_stop=3)))
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'EarlyStopHook')
    assert (hook.monitor, hook.patience, hook.rule) == ('coco/bbox_mAP', 3, 'greater')


def test_early_stopping_without_a_score_is_refused():
    cfg = config()
    cfg.default_hooks.checkpoint.save_best = None
    with pytest.raises(InputError, match='names no score of a validation'):
        set_recipe(cfg, TrainOptions(recipe=Recipe(early_stop=3)))
