"""One set taken apart, as detection reads it."""

import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
from detection_data import objects_by_image, read

from casvit_mm import InputError
from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset

ONE_SET = 'data: {annotations: train.json, images: train}\n'


@pytest.fixture
def folder(tmp_path):
    return generate_shapes(tmp_path, sizes=(8, 3, 2), side=64, seed=3).parent


def prepare(folder, text, splits=('train', 'val'), masks=False, classes=None):
    description = folder / 'mine.yaml'
    description.write_text(text)
    return prepare_dataset(read_dataset(description), splits, folder / 'prepared', masks, classes)


def test_a_split_is_drawn_by_image_with_the_shares_asked_for(folder):
    text = ONE_SET + 'split: {val: 0.25, test: 0.125, seed: 4}\n'
    prepared = prepare(folder, text, splits=('train', 'val', 'test'))
    parts = [objects_by_image(prepared[name].annotations) for name in ('train', 'val', 'test')]
    assert [len(part) for part in parts] == [5, 2, 1]
    assert {**parts[0], **parts[1], **parts[2]} == objects_by_image(folder / 'train.json')


def test_a_split_is_written_down_and_read_again(folder):
    text = ONE_SET + 'split: {val: 0.25, seed: 4}\n'
    first = objects_by_image(prepare(folder, text)['val'].annotations)
    record = folder / 'mine.split.json'
    written = read(record)
    assert {Path(name).name for name in written['val']} == set(first)
    # An exchange by hand must hold: what was written counts, not the seed.
    written['train'][0], written['val'][0] = written['val'][0], written['train'][0]
    record.write_text(json.dumps(written))
    again = objects_by_image(prepare(folder, text)['val'].annotations)
    assert set(again) == {Path(name).name for name in written['val']} != set(first)


def test_seeds_draw_different_splits(folder):
    drawn = set()
    for seed in range(6):
        (folder / 'mine.split.json').unlink(missing_ok=True)
        text = ONE_SET + f'split: {{val: 0.25, seed: {seed}}}\n'
        drawn.add(tuple(objects_by_image(prepare(folder, text)['val'].annotations)))
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: r.update(split=dict(seed=9, val=0.25, test=0.0)), 'was drawn with'),
        (lambda r: r['train'].pop(), '1 new images since the split was drawn'),
        (lambda r: r['train'].append('train/x.png'), '1 images that are gone'),
        (lambda r: r.pop('val'), 'is not a split that we wrote'),
        (lambda r: r['train'].append(5), 'is not a split that we wrote'),
        (lambda r: r.update(val=[['a']]), 'is not a split that we wrote'),
    ],
)
def test_a_written_split_that_does_not_fit_any_more_is_refused(folder, change, message):
    text = ONE_SET + 'split: {val: 0.25}\n'
    prepare(folder, text)
    record = folder / 'mine.split.json'
    content = read(record)
    change(content)
    record.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf'{message}.*Delete {re.escape(str(record))}'):
        prepare(folder, text)


def test_folds_are_blocks_of_the_sorted_names_and_cover_every_image_once(folder):
    validated = []
    for fold in range(3):
        text = ONE_SET + f'split: {{folds: 3, fold: {fold}}}\n'
        prepared = prepare(folder, text)
        val = sorted(objects_by_image(prepared['val'].annotations))
        assert not set(val) & set(objects_by_image(prepared['train'].annotations))
        validated += val
    assert validated == [f'{i:04d}.png' for i in range(1, 9)]


@pytest.mark.parametrize('split', ['{val: 0.5, test: 0.4}', '{folds: 3}'])
def test_too_few_images_for_the_split_are_refused(folder, split):
    content = read(folder / 'train.json')
    content['images'] = content['images'][:2]
    (folder / 'train.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match='image'):
        prepare(folder, ONE_SET + f'split: {split}\n')


def test_the_same_image_in_train_and_val_is_refused(folder):
    text = """train: {annotations: train.json, images: train}
val: {annotations: train.json, images: train}
"""
    with pytest.raises(InputError, match=r'8 image\(s\) are in train and in val'):
        prepare(folder, text)


def test_a_split_that_cannot_be_written_is_refused(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, 'No space left on device')

    (folder / 'mine.yaml').write_text(ONE_SET + 'split: {val: 0.25}\n')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(InputError, match=r'kept beside its description.*No space left.*copy'):
        prepare_dataset(read_dataset(folder / 'mine.yaml'), ('train',), folder / 'x', False)
    assert not (folder / 'mine.split.json').exists()
