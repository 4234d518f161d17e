"""A checkpoint that fits, trained under settings that change what its weights mean."""

import pytest
from helpers import ROOT
from mmengine.config import Config

pytest.importorskip('mmdet')
from casvit_mm.engine.weight_meaning import changed_meanings


def read(name, **changes):
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    cfg.merge_from_dict(changes)
    return cfg


def warnings(cfg, trained):
    content = dict(meta=dict(cfg=trained.pretty_text))
    return changed_meanings(cfg, content, 'old.pth')


@pytest.mark.parametrize(
    'name', ['rtmdet_casvit_xs_light', 'maskrcnn_casvit_xs_light', 'retinanet_casvit_xs_photos']
)
def test_the_same_settings_need_no_word(name):
    assert warnings(read(name), read(name)) == []


def test_sides_that_are_exponents_only_here_are_named_with_the_way_back():
    trained = read('rtmdet_casvit_xs_light')
    del trained.model.bbox_head['exp_on_reg']  # as mmdet's RTMDet-tiny
    (found,) = warnings(read('rtmdet_casvit_xs_light'), trained)
    assert 'model.bbox_head.exp_on_reg: False there, True here' in found
    assert '--cfg-options model.bbox_head.exp_on_reg="False"' in found


def test_every_setting_that_differs_is_named_alone():
    cfg = read('retinanet_casvit_xs_light')
    trained = read(
        'retinanet_casvit_xs_light',
        **{
            'model.bbox_head.anchor_generator.octave_base_scale': 2,
            'model.bbox_head.bbox_coder.target_stds': [0.1, 0.1, 0.2, 0.2],
            'model.data_preprocessor.bgr_to_rgb': False,
            'model.bbox_head.loss_cls.gamma': 1.0,
        },
    )
    (found,) = warnings(cfg, trained)
    lines = [line.split(':')[0].strip() for line in found.splitlines()[1:-1]]
    assert sorted(lines) == [
        'model.bbox_head.anchor_generator.octave_base_scale',
        'model.bbox_head.bbox_coder.target_stds',
        'model.data_preprocessor.bgr_to_rgb',
    ]


def test_a_file_that_holds_no_config_or_no_plain_one_needs_no_word():
    cfg = read('rtmdet_casvit_xs_light')
    assert changed_meanings(cfg, {}, 'old.pth') == []
    assert changed_meanings(cfg, dict(meta=dict(cfg='model = f()')), 'old.pth') == []
