"""Each stage and the machine's limits."""

import numpy as np
import pytest
import torch
from benchmark_models import quick
from torch import nn

from casvit_mm.benchmark import benchmark
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.roofline import Piece, bytes_moved, shares


def test_a_fused_layer_moves_its_input_output_and_weights_once():
    module = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
    values = 3 * 4 * 4 + 8 * 4 * 4 + 3 * 8 + 2 * 8
    x = torch.rand(1, 3, 4, 4)
    assert bytes_moved(module, x, Form.parse('eager')) == 4 * values
    assert bytes_moved(module, x, Form.parse('eager+bf16')) == 2 * values


def test_shares_are_of_what_the_machine_can_do():
    piece = Piece('stage 1', print, moved=300, multiply_adds=500)
    (row,) = shares([piece], [np.full((2, 2), 2.0)], bandwidth=600, peak=1000)
    assert (row['of_bandwidth'], row['of_peak']) == (0.25, 0.25)


def test_every_stage_has_a_row(configs, monkeypatch):
    monkeypatch.setattr('casvit_mm.benchmark.roofline._BUFFER', 2**12)
    monkeypatch.setattr('casvit_mm.benchmark.roofline._SIDE', dict(cpu=8))
    result = benchmark(quick(models=[configs['classifier']], size=['64x32'], roofline=True))
    (found,) = result['rooflines']
    rows = found['pieces']
    assert [row['name'] for row in rows] == ['stem', *(f'stage {i}' for i in range(1, 5))]
    assert sum(row['share'] for row in rows) == pytest.approx(1)
    mixers = found['mixers']
    assert [row['name'] for row in mixers] == [f'a mixer of stage {i}' for i in range(1, 5)]
    # A mixer is a part of its stage.
    pairs = zip(mixers, rows[1:], strict=True)
    assert all(0 < part['multiply_adds'] < whole['multiply_adds'] for part, whole in pairs)
