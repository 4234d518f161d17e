"""The config of an evaluation that follows from a checkpoint alone."""

import pytest
import torch

from casvit_mm.config.forms import metric_configs
from casvit_mm.config.paths import ROOT
from casvit_mm.config.reading import read_config
from casvit_mm.engine.stored_recipe import stored_recipe


@pytest.mark.parametrize(
    ('name', 'scores'),
    [
        ('rtmdet_casvit_xs_light', 'bbox'),
        ('rtmdet_ins_casvit_xs_light', ['bbox', 'segm']),
        ('maskrcnn_casvit_xs_light', ['bbox', 'segm']),
    ],
)
def test_masks_are_scored_where_the_model_gives_them(name, scores, tmp_path):
    text = read_config(ROOT / 'configs' / f'{name}.py').pretty_text
    torch.save(dict(meta=dict(cfg=text), state_dict={}), tmp_path / 'best.pth')
    (metric,) = metric_configs(stored_recipe(str(tmp_path / 'best.pth')), 'test')
    assert metric['metric'] == scores
