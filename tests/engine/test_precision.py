"""Whether mixed precision pays here, asked before a training that wants it."""

import pytest
import torch
from helpers import TINY_ARCH
from mmengine.config import Config

from casvit_mm.engine import Speed, TrainOptions, precision
from casvit_mm.models import CASViT

CFG = Config(dict(model=dict(backbone=dict(type='CASViT', arch=dict(TINY_ARCH)))))


def test_the_gain_is_measured_and_draws_no_random_number():
    backbone = CASViT(TINY_ARCH, drop_path_rate=0.1)
    state = torch.get_rng_state()
    assert precision.mixed_precision_gain(backbone, torch.bfloat16) > 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(('gain', 'warned'), [(0.62, True), (1.6, False)])
def test_a_precision_that_is_slower_here_is_warned_of(monkeypatch, gain, warned):
    monkeypatch.setattr(precision, 'mixed_precision_gain', lambda *_: gain)
    notes = precision.warn_of_slow_precision(CFG, TrainOptions(speed=Speed(bf16=True)))
    assert [note.startswith('warning: --bf16 is slower') for note in notes] == [True] * warned
    assert all('0.62 times its speed' in note for note in notes)


def test_float32_is_not_measured(monkeypatch):
    monkeypatch.setattr(precision, 'mixed_precision_gain', None)
    assert precision.warn_of_slow_precision(CFG, TrainOptions()) == []
