"""One set taken apart, as detection reads it."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet')
from detection_data import objects_by_image, read

from casvit_mm import InputError
from casvit_mm.datasets.description import FoldSplit, RandomSplit
from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.datasets.splitting import take_apart
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
        (lambda r: r.update(notes=7), 'is not a split that we wrote'),
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


def test_folds_of_one_class_are_blocks_of_the_sorted_names_and_cover_every_image_once(folder):
    validated = []
    for fold in range(3):
        text = f'{ONE_SET}classes: {{shape: [circle, square, triangle]}}\n'
        text += f'split: {{folds: 3, fold: {fold}}}\n'
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


def test_the_classes_to_learn_are_those_in_balance(folder):
    text = ONE_SET + 'split: {val: 0.25}\nclasses: {round: circle}\n'
    (note,) = prepare(folder, text)['train'].notes
    assert re.fullmatch(r'split: images of each class, train/val: round \d+/\d+', note)


def taken_apart(folder, split, names, **options):
    """Parts and notes for image files of these names, each of one class, its first letter."""
    files = {}
    for i, name in enumerate(names):
        files[name] = folder / name
        files[name].parent.mkdir(exist_ok=True)
        if not files[name].exists():
            pixels = np.random.default_rng(i).integers(0, 255, (16, 17), np.uint8)
            Image.fromarray(pixels).resize((170, 160)).save(files[name])
    classes = {name: [Path(name).name[0]] for name in names}
    return take_apart(folder / 'mine.yaml', split, files, lambda: classes, **options)


def test_identical_and_alike_images_stay_on_one_side(tmp_path):
    names = [f'i/a{i:02d}.png' for i in range(20)]
    taken_apart(tmp_path, RandomSplit(0.3), names)
    (tmp_path / 'mine.split.json').unlink()
    shutil.copy(tmp_path / names[0], tmp_path / names[15])
    image = Image.open(tmp_path / names[3])
    image.resize((85, 80)).save(tmp_path / names[9])
    for split in (*(RandomSplit(0.3, seed=seed) for seed in range(5)), FoldSplit(4, 3)):
        taken = taken_apart(tmp_path, split, names)
        for pair in ({names[0], names[15]}, {names[3], names[9]}):
            assert sum(pair <= part for part in taken.parts.values()) == 1
        assert taken.notes[0] == 'split: 4 images in 2 groups are identical or alike'
        assert taken_apart(tmp_path, split, names) == taken
        (tmp_path / 'mine.split.json').unlink()


@pytest.mark.parametrize(
    ('group', 'number'), [('folder', 3), (r'(.+)_\d+', 4), (r'/(?:a|b)(\d)_', 2)]
)
@pytest.mark.parametrize('folds', [False, True])
def test_images_of_a_group_stay_on_one_side(tmp_path, group, number, folds):
    names = ['x/a1_1.png', 'x/a1_2.png', 'y/a2_1.png', 'y/a2_2.png', 'z/b1_1.png', 'z/b2_1.png']
    split = FoldSplit(2, 0, group) if folds else RandomSplit(0.5, group=group)
    taken = taken_apart(tmp_path, split, names)
    keys = [str(Path(n).parent) if group == 'folder' else re.search(group, n)[1] for n in names]
    for key in keys:
        members = {name for name, own in zip(names, keys, strict=True) if own == key}
        assert sum(members <= part for part in taken.parts.values()) == 1
    assert f'split: group: {group} makes {number} groups' in taken.notes


@pytest.mark.parametrize(
    ('split', 'message'),
    [
        (
            RandomSplit(0.5, group=r'_(\d+)'),
            "'_(.*)' matches not all names: 2 of 4.*i/c.png, i/d.png",
        ),
        (RandomSplit(0.5, group='folder'), r'4 image\(s\) in 1 group\(s\) that stay together'),
        (FoldSplit(2, 0, 'folder'), r'2 folds need as many.*4 image\(s\) in 1 group'),
    ],
)
def test_groups_that_do_not_suffice_are_refused(tmp_path, split, message):
    with pytest.raises(InputError, match=message):
        taken_apart(tmp_path, split, ['i/a_1.png', 'i/b_2.png', 'i/c.png', 'i/d.png'])
    assert not (tmp_path / 'mine.split.json').exists()


def test_the_log_says_how_the_images_of_each_class_fell(tmp_path):
    names = [f'i/{letter}{i}.png' for letter, n in (('b', 10), ('a', 5)) for i in range(n)]
    drawn = taken_apart(tmp_path, RandomSplit(0.2), names)
    assert drawn.notes == ('split: images of each class, train/val: a 4/1, b 8/2',)
    (tmp_path / 'mine.split.json').unlink()
    folds = taken_apart(tmp_path, FoldSplit(2, 1), names, every_class=True)
    blocks = 'split: folds are blocks of neighbouring names of each class, the rarest class first'
    assert folds.notes == (blocks, 'split: images of each class, fold 0/1: a 2/3, b 5/5')
    assert len(folds.parts['val']) == 8


def test_folds_that_lack_a_class_are_refused_where_each_needs_it(tmp_path):
    names = [f'i/{name}.png' for name in ('a0', 'a1', 'a2', 'b0', 'b1')]
    assert len(taken_apart(tmp_path, FoldSplit(3, 0), names).parts['val']) == 1
    (tmp_path / 'mine.split.json').unlink()
    with pytest.raises(InputError, match=r"every class, and class 'b' has 2 image"):
        taken_apart(tmp_path, FoldSplit(3, 0), names, every_class=True)


def test_a_split_of_an_earlier_version_stays_valid(tmp_path):
    names = [f'i/a{i}.png' for i in range(4)]
    old = dict(split=dict(seed=0, val=0.25, test=0.0), val=[names[2]], test=[], train=names[:2])
    old['train'].append(names[3])
    (tmp_path / 'mine.split.json').write_text(json.dumps(old))
    taken = taken_apart(tmp_path, RandomSplit(0.25), names)
    assert (taken.parts['val'], taken.notes) == ({names[2]}, ())


def test_a_folds_record_that_was_damaged_is_refused(tmp_path):
    names = [f'i/a{i}.png' for i in range(4)]
    taken_apart(tmp_path, FoldSplit(2, 0), names)
    content = read(tmp_path / 'mine.split.json')
    content['folds'].pop()
    (tmp_path / 'mine.split.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'is not a split that we wrote.*Delete'):
        taken_apart(tmp_path, FoldSplit(2, 0), names)


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
