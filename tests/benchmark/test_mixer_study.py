"""The study of the token mixers: what it measures, writes and refuses."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from helpers import ROOT, TINY_ARCH, run_command
from PIL import Image
from torch import nn

pytest.importorskip('mmpretrain')
from casvit_mm import InputError
from casvit_mm.benchmark import mixer_accuracy
from casvit_mm.benchmark.mixer_accuracy import compare_accuracies
from casvit_mm.benchmark.mixer_costs import (
    _exponent,
    _latencies,
    _three_digits,
    compare_costs,
    mixer_names,
)
from casvit_mm.datasets.shapes import generate_shape_classes
from casvit_mm.errors import DivergedError
from casvit_mm.models.complexity import multiply_adds
from casvit_mm.models.token_mixers import MultiHeadTokenMixer

# One epoch of small images with a tiny model.
SHORT = {
    'model.backbone.arch': {**TINY_ARCH, '_delete_': True},
    'model.head.in_channels': TINY_ARCH['embed_dims'][-1],
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'default_hooks.checkpoint.interval': 1,
    'train_dataloader.batch_size': 8,
    'train_dataloader.batch_sampler.sizes': [48],
    'train_dataloader.batch_sampler.base_size': 48,
    **{f'{split}_dataloader.num_workers': 0 for split in ('train', 'val', 'test')},
    **{f'{split}_dataloader.persistent_workers': False for split in ('train', 'val', 'test')},
}


@pytest.fixture(scope='module')
def costs(tmp_path_factory):
    """Folder of a small study of two mixers, and its figures."""
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


def test_tables_figures_and_picture_are_written(costs):
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


def test_multiply_adds_are_counted_without_computing():
    # With the scores of all pairs, this would take a terabyte.
    mixer = MultiHeadTokenMixer(8).to('meta')
    assert multiply_adds(mixer, torch.rand(1, 8, 700, 700, device='meta')) > 2 * 700**4 * 8


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
def test_figures_have_three_digits(value, text):
    assert _three_digits(value) == text


@pytest.fixture(scope='module')
def accuracies(tmp_path_factory):
    """Folder of a tiny study of one mixer with two seeds, its arguments and figures."""
    folder = tmp_path_factory.mktemp('accuracies')
    data = generate_shape_classes(folder / 'data', sizes=(16, 6, 6), side=64, seed=1)
    arguments = (['PoolingTokenMixer'], str(data), folder / 'out')
    options = dict(config=str(ROOT / 'configs/casvit_xs_short.py'), seeds=(0, 1), cfg_options=SHORT)
    return arguments, options, compare_accuracies(*arguments, **options)


@pytest.mark.slow
def test_each_seed_is_trained_with_the_mixer(accuracies):
    (_, _, out), _, results = accuracies
    found = results['PoolingTokenMixer']
    assert len(found['top1']) == len(found['seconds']) == 2
    assert all(0 <= value <= 1 for value in found['top1'])
    config = (out / 'runs/PoolingTokenMixer_1/casvit_xs_short.py').read_text()
    assert "token_mixer=dict(type='PoolingTokenMixer')" in config


@pytest.mark.slow
def test_the_comparison_is_written(accuracies):
    out = accuracies[0][2]
    assert json.loads((out / 'accuracy.json').read_text())['facts']['seeds'] == [0, 1]
    assert 'seed 1' in (out / 'accuracy.md').read_text()
    assert Image.open(out / 'accuracy.png').width > 500


@pytest.mark.slow
def test_what_is_trained_is_not_trained_again(accuracies, monkeypatch):
    arguments, options, results = accuracies
    monkeypatch.setattr('multiprocessing.get_context', pytest.fail)
    assert compare_accuracies(*arguments, **options) == results


def test_a_run_that_diverged_is_told_and_leaves_the_others_their_mean(tmp_path):
    for seed, top1 in enumerate([None, 0.5, 0.7]):
        run = tmp_path / f'runs/PoolingTokenMixer_{seed}/result.json'
        run.parent.mkdir(parents=True)
        run.write_text(json.dumps(dict(top1=top1, seconds=60, parameters=7)))
    results = compare_accuracies(['PoolingTokenMixer'], 'unread.yaml', tmp_path)
    assert math.isnan(results['PoolingTokenMixer']['top1'][0])
    row = (tmp_path / 'accuracy.md').read_text().split('Pooling')[1]
    assert [cell.strip() for cell in row.split('|')[2:6]] == [
        '0.600 ± 0.141',
        'diverged',
        '0.500',
        '0.700',
    ]


def test_scores_that_are_no_numbers_are_kept_as_a_run_that_diverged(tmp_path, monkeypatch):
    def evaluate(*_, **__):
        raise DivergedError('1 of 7 images')

    hub = SimpleNamespace(get_info=lambda key: 'epoch_8.pth')
    runner = SimpleNamespace(message_hub=hub, model=nn.Linear(2, 2))
    monkeypatch.setattr(mixer_accuracy, 'train', lambda *_, **__: runner)
    monkeypatch.setattr(mixer_accuracy, 'evaluate', evaluate)
    mixer_accuracy._train('config.py', 'data.yaml', tmp_path, 0, {})
    result = json.loads((tmp_path / 'result.json').read_text())
    assert (result['top1'], result['parameters']) == (None, 6)


@pytest.mark.slow
def test_a_run_that_fails_is_named_after_its_own_message(tmp_path):
    with pytest.raises(InputError, match='PoolingTokenMixer_0 failed, see above'):
        compare_accuracies(['PoolingTokenMixer'], 'nowhere.yaml', tmp_path, seeds=(0,))


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


def test_the_command_measures_and_says_where_it_wrote(tmp_path):
    result = run_command(
        *('python', 'tools/study_mixers.py', '--mixers', 'PoolingTokenMixer', '--dim', 4),
        *('--sides', 4, 8, '--rounds', 1, '--device', 'cpu', '--out', tmp_path / 'study'),
    )
    assert result.returncode == 0, result.stderr
    assert f'written to {tmp_path / "study"}' in result.stdout
