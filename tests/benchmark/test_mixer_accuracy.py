"""What CAS-ViT reaches with each token mixer: runs that end well, diverge or were done before."""

import json
import math
from types import SimpleNamespace

import pytest
from helpers import ROOT, TINY_ARCH
from PIL import Image
from torch import nn

pytest.importorskip('mmpretrain')
from casvit_mm.benchmark import mixer_accuracy
from casvit_mm.benchmark.mixer_accuracy import compare_accuracies
from casvit_mm.datasets.shapes import generate_shape_classes
from casvit_mm.errors import DivergedError

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
def accuracies(tmp_path_factory):
    """Folder of a tiny study of one mixer with two seeds, its arguments and results."""
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
