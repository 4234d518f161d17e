"""Every head has as many classes as the data, or is named before training."""

import copy

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
from detection_data import MASK, load_config

from casvit_mm import InputError
from casvit_mm.config.building import build_untrained
from casvit_mm.config.class_counts import (
    cap_max_dets,
    check_class_counts,
    raise_max_dets,
    set_num_classes,
)


def config(**model):
    return Config(dict(default_scope='mmdet', model=model))


def queries(things=80, stuff=53, background=0.1, number=100):
    """The parts of Mask2Former that count classes."""
    weights = [1.0] * (things + stuff) + [background]
    counts = dict(num_things_classes=things, num_stuff_classes=stuff)
    loss = dict(type='CrossEntropyLoss', class_weight=weights)
    return config(
        panoptic_head=dict(type='Mask2FormerHead', num_queries=number, loss_cls=loss, **counts),
        panoptic_fusion_head=dict(type='MaskFormerFusionHead', **counts),
        test_cfg=dict(max_per_image=100),
    )


def test_things_stuff_and_class_weights_with_background_follow_the_data():
    cfg = queries()
    set_num_classes(cfg, 3)
    for head in (cfg.model.panoptic_head, cfg.model.panoptic_fusion_head):
        assert (head.num_things_classes, head.num_stuff_classes) == (3, 0)
    assert cfg.model.panoptic_head.loss_cls.class_weight == [1.0, 1.0, 1.0, 0.1]


def head_with_weights(weights, num_classes):
    return config(bbox_head=dict(num_classes=num_classes, loss=dict(class_weight=weights)))


@pytest.mark.parametrize(
    ('weights', 'old', 'expected'),
    [
        ([2.0] * 5, 5, [2.0] * 3),
        ([2.0] * 5 + [0.5], 5, [2.0] * 3 + [0.5]),
        ([2.0] * 2 + [0.5], 2, [2.0] * 3 + [0.5]),  # as long as the new classes, by chance
        ([1.0, 2.0, 3.0], 5, [1.0, 2.0, 3.0]),  # given for the new classes
        ([1.0, 2.0, 3.0, 0.1], 5, [1.0, 2.0, 3.0, 0.1]),
        ([1.0, 2.0, 3.0], 3, [1.0, 2.0, 3.0]),
        (None, 5, None),
        (1.5, 5, 1.5),
    ],
)
def test_equal_weights_are_given_to_the_new_classes_and_others_kept(weights, old, expected):
    cfg = head_with_weights(weights, old)
    set_num_classes(cfg, 3)
    assert cfg.model.bbox_head.loss.class_weight == expected
    assert cfg.model.bbox_head.num_classes == 3


@pytest.mark.parametrize('weights', [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 7, [1.0]])
def test_weights_that_belong_to_other_classes_are_refused(weights):
    with pytest.raises(InputError, match=rf'class_weight for {len(weights)} classes, .* has 3'):
        set_num_classes(head_with_weights(weights, 5), 3)


def test_heads_that_tell_other_things_apart_keep_their_number():
    edges = dict(type='STDCHead', num_classes=2)
    cfg = config(
        rpn_head=dict(type='RPNHead', num_classes=1),
        auxiliary_head=[edges, dict(type='FCNHead', num_classes=19)],
    )
    set_num_classes(cfg, 3)
    assert cfg.model.rpn_head.num_classes == 1
    assert [head.num_classes for head in cfg.model.auxiliary_head] == [2, 3]


@pytest.fixture(scope='module')
def recipe():
    cfg = load_config(MASK)
    cfg.model.backbone.init_cfg = None
    cfg.model.roi_head.bbox_head.fc_out_channels = 8
    return cfg


def check(cfg, num_classes):
    check_class_counts(build_untrained(cfg), 'config.py', num_classes)


def test_a_head_without_a_number_is_named_with_the_option_that_sets_it(recipe):
    cfg = copy.deepcopy(recipe)
    set_num_classes(cfg, 3)
    check(cfg, 3)  # RPN tells objects from ground, and is left alone
    cfg.model.roi_head.mask_head.pop('num_classes')
    message = r'model\.roi_head\.mask_head \(FCNMaskHead\) has 80: .*mask_head\.num_classes=3$'
    with pytest.raises(InputError, match=message):
        check(cfg, 3)


def test_class_weights_without_the_background_that_a_head_scores_are_named(recipe):
    cfg = copy.deepcopy(recipe)
    cfg.model.roi_head.bbox_head.loss_cls.class_weight = [1.0, 2.0, 3.0]
    set_num_classes(cfg, 3)
    message = r'bbox_head\.loss_cls\.class_weight has 3 weights, and the head gives 4 scores'
    with pytest.raises(InputError, match=message):
        check(cfg, 3)
    cfg.model.roi_head.bbox_head.loss_cls.class_weight.append(0.5)
    check(cfg, 3)


@pytest.mark.parametrize(
    ('cfg', 'classes', 'most'),
    [
        (queries(number=20), 3, 60),
        (queries(number=100), 3, 300),
        (config(num_queries=9, bbox_head=dict(loss_cls=dict(type='FocalLoss'))), 2, 18),
        (config(num_queries=9, bbox_head=dict(loss_cls=dict(type='CrossEntropyLoss'))), 2, 9),
        (config(rpn_head=dict(num_proposals=50)), 2, 100),
        (config(bbox_head=dict(type='RetinaHead')), 2, None),
    ],
)
def test_a_model_of_queries_keeps_no_more_than_it_can_choose_from(cfg, classes, most):
    cfg.model.setdefault('test_cfg', dict(rcnn=dict(max_per_img=80)))
    raise_max_dets(cfg, 500)
    assert cap_max_dets(cfg, classes) == most
    test_cfg = cfg.model.test_cfg
    kept = test_cfg.get('max_per_image') or test_cfg.rcnn.max_per_img
    assert kept == (500 if most is None else most)


def test_a_limit_that_is_not_given_is_capped_as_well():
    cfg = queries(number=20)
    cfg.model.pop('test_cfg')
    cap_max_dets(cfg, 3)
    assert cfg.model.test_cfg.max_per_image == 60
