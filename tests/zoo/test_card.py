"""The card of a published model: what is stated, what is missing, and the header the Hub reads."""

import json

import pytest
import torch

from casvit_mm import InputError
from casvit_mm.zoo.card import CardFacts
from casvit_mm.zoo.publish import publish

CONFIG = """
default_scope = 'mmdet'
model = dict(type='RetinaNet', backbone=dict(type='CASViT', arch='xs'))
train_dataloader = dict(batch_size=8)
train_cfg = dict(type='ResumableEpochLoop', max_epochs=24)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05))
param_scheduler = [dict(type='LinearLR'), dict(type='CosineAnnealingLR')]
load_from = '/home/me/cas-vit-xs.pth'
"""
METRICS = {
    'coco/bbox_mAP': 0.6004,
    'coco/bbox_mAP_50': 0.9,
    'coco/bbox_AP/red cell': 0.7,
    'coco/bbox_AP/a|b': None,
    'coco/objects/red cell': 819.0,
    'coco/objects/a|b': 0.0,
    'seconds': 12.0,
    'checkpoint': '/elsewhere/epoch_9.pth',
}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_9.pth'
    meta = dict(epoch=9, iter=234, seed=3, cfg=CONFIG, mmengine_version='0.10.12')
    meta['dataset_meta'] = dict(classes=('red cell', 'a|b'))
    torch.save(dict(state_dict={'layer.weight': torch.arange(4.0)}, meta=meta), path)
    return path


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / 'metrics.json'
    path.write_text(json.dumps(METRICS))
    return path


def test_a_card_has_the_header_of_the_hub(checkpoint, metrics, tmp_path):
    cards = pytest.importorskip('huggingface_hub')
    facts = CardFacts(metrics, 'BCCD, MIT', 'apache-2.0', 'Counting cells')
    found = publish(checkpoint, tmp_path / 'out/', card=facts)
    card = cards.ModelCard.load(found.card)
    assert (card.data.license, card.data.library_name) == ('apache-2.0', 'casvit_mm')
    assert card.data.pipeline_tag == 'object-detection'
    results = {one.metric_name: one.metric_value for one in card.data.eval_results}
    assert results == {'box AP': 0.6004, 'box AP50': 0.9}
    assert {one.dataset_name for one in card.data.eval_results} == {'BCCD, MIT'}
    assert card.data.model_name == found.path.stem


def test_a_card_tells_data_metrics_training_and_checksum(checkpoint, metrics, tmp_path):
    facts = CardFacts(metrics, 'BCCD, MIT', 'apache-2.0', 'Counting cells')
    found = publish(checkpoint, tmp_path / 'out/', card=facts)
    text = found.card.read_text()
    for line in (
        'RetinaNet on CASViT XS, trained with casvit_mm',
        '2 classes: red cell, a|b.',
        'Counting cells',
        'BCCD, MIT',
        '| box AP | 0.600 |',
        '| red cell | 0.700 | 819 |',
        r'| a\|b | - | 0 |',
        '| epochs | 9 of 24 |',
        '| iterations | 234 |',
        '| precision | float32 |',
        '| images per step and process | 8 |',
        '| optimizer | AdamW |',
        '| started from | cas-vit-xs.pth |',
        '| seed | 3 |',
        f'`{found.sha256}`',
        f"casvit_mm.load('{found.path.name}')",
    ):
        assert line in text
    assert '/home/me' not in text
    assert 'Not stated' not in text
    assert 'lacks' not in str(found)


def test_what_nobody_has_stated_is_said_to_be_missing(checkpoint, tmp_path):
    found = publish(checkpoint, tmp_path / 'out/', card=CardFacts())
    text = found.card.read_text()
    assert text.count('Not stated') == 4
    assert 'model-index' not in text
    assert 'which lacks --metrics, --data, --license, --use' in str(found)


def test_a_resumed_run_does_not_tell_what_it_began_with(checkpoint, tmp_path):
    content = torch.load(checkpoint)
    content['meta']['cfg'] += 'resume = True\n'
    torch.save(content, checkpoint)
    found = publish(checkpoint, tmp_path / 'out/', card=CardFacts())
    assert '| started from | not recorded: the run was resumed |' in found.card.read_text()


def test_a_checkpoint_without_a_config_has_a_card_too(checkpoint, tmp_path):
    torch.save(dict(state_dict={'layer.weight': torch.arange(4.0)}), checkpoint)
    found = publish(checkpoint, tmp_path / 'out/', card=CardFacts())
    assert '| recorded | nothing |' in found.card.read_text()


def test_metrics_of_another_checkpoint_are_refused_before_anything_is_written(
    checkpoint, metrics, tmp_path
):
    metrics.write_text(json.dumps({**METRICS, 'checkpoint': 'epoch_8.pth'}))
    with pytest.raises(InputError, match=r'metrics\.json are of epoch_8\.pth, and this is'):
        publish(checkpoint, tmp_path / 'out/', card=CardFacts(metrics))
    metrics.write_text('[]')
    with pytest.raises(InputError, match='no file of metrics'):
        publish(checkpoint, tmp_path / 'out/', card=CardFacts(metrics))
    assert not (tmp_path / 'out').exists()


def test_the_readme_of_another_project_stays(checkpoint, tmp_path):
    (tmp_path / 'README.md').write_text('# My project')
    with pytest.raises(InputError, match='no card of ours'):
        publish(checkpoint, card=CardFacts())
    assert (tmp_path / 'README.md').read_text() == '# My project'


def test_a_card_of_ours_is_written_anew(checkpoint, tmp_path):
    publish(checkpoint, tmp_path / 'out/', card=CardFacts())
    found = publish(checkpoint, tmp_path / 'out/', card=CardFacts(license='mit'))
    assert 'license: mit' in found.card.read_text()
