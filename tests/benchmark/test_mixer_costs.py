"""What the token mixers cost: what is measured, written and refused."""

import json
import math

import pytest
import torch
from PIL import Image
from torch import nn

from casvit_mm.benchmark.mixer_costs import (
    _exponent,
    _latencies,
    _three_digits,
    compare_costs,
    mixer_names,
)
from casvit_mm.errors import InputError


@pytest.fixture(scope='module')
def costs(tmp_path_factory):
    """Folder of a small study of two mixers, and its costs."""
    out = tmp_path_factory.mktemp('costs')
    names = ['MultiHeadTokenMixer', 'PoolingTokenMixer']
    return out, compare_costs(names, out, dim=8, sides=(14, 7, 28, 20), rounds=1)


def test_multiply_adds_of_attention_are_the_formula(costs):
    n, c = 28**2, 8
    projections, products = 4 * n * c**2, 2 * n**2 * c
    assert costs[1]['MultiHeadTokenMixer']['multiply_adds'][-1] == projections + products


def test_pooling_has_no_parameters_and_no_growth_of_what_it_does_not_multiply(costs):
    pooling = costs[1]['PoolingTokenMixer']
    assert pooling['parameters'] == 0
    assert pooling['multiply_adds'] == [0] * 4
    assert math.isnan(pooling['exponents']['multiply_adds'])


def test_peak_memory_of_pooling_is_two_maps(costs):
    assert costs[1]['PoolingTokenMixer']['bytes'][-1] == 2 * 4 * 8 * 28**2


def test_tables_json_and_picture_are_written(costs):
    written = json.loads((costs[0] / 'costs.json').read_text())
    assert written['facts']['sides'] == [7, 14, 20, 28]
    assert len(written['mixers']['PoolingTokenMixer']['seconds']) == 4
    tables = (costs[0] / 'costs.md').read_text()
    assert [line.split('|')[1].strip() for line in tables.splitlines() if 'grows as' in line] == [
        'multiply-adds (M)',
        'latency (ms)',
        'peak memory (MB)',
    ]
    assert Image.open(costs[0] / 'costs.png').width > 1000


def test_every_mixer_is_timed():
    latencies = _latencies({'a': nn.Identity(), 'b': nn.ReLU()}, torch.rand(8), 2)
    assert min(latencies.values()) > 0


def test_the_exponent_is_that_of_the_largest_maps():
    tokens = [49, 196, 784, 3136, 12544]
    assert _exponent(tokens, [5, 5, *(n**1.5 for n in tokens[2:])]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0.0, '0'), (0.01234, '0.0123'), (1.234, '1.23'), (123.4, '123'), (45678.9, '45,679')],
)
def test_numbers_have_three_digits(value, text):
    assert _three_digits(value) == text


def test_an_unknown_mixer_is_refused_with_those_known():
    with pytest.raises(InputError, match="'Pooling', expected some of AdditiveTokenMixer"):
        mixer_names(['Pooling'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(sides=(0, 7)), '--sides must be positive'),
        (dict(dim=6), r'--dim 6: num_heads must divide the 6 channels, got 4'),
    ],
)
def test_a_study_that_cannot_be_is_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        compare_costs(['MultiHeadTokenMixer'], tmp_path, **arguments)
