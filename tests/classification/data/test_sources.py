"""Which images a split has, and which class each of them is."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from casvit_mm import InputError
from casvit_mm.classification.data.checks import inspect_dataset
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.datasets.image_scan import scan_images
from casvit_mm.datasets.shapes import CLASSES

pytest.importorskip('mmpretrain')
from classification_data import NAMES, SOURCES, first, names_and_labels, prepare, refusal

FLAT = 'train: {images: flat, list: train.txt}\nval: {images: val}\n'
TRASHNET = Path(os.environ.get('CASVIT_DATA', ROOT.parent / 'shared/data'), 'trashnet_small')


def test_classes_are_the_folders_sorted_by_name(folder):
    train = prepare(folder)['train']
    assert train.classes == CLASSES == tuple(sorted(CLASSES))
    assert [Path(path).parent.name for path, _ in train.images] == [
        CLASSES[label] for _, label in train.images
    ]
    assert train.counts.tolist() == [2, 2, 2]
    assert train.counts.dtype == np.int64
    content = json.loads(train.file.read_text())
    assert content['classes'] == list(CLASSES)
    assert content['images'] == [list(image) for image in train.images]
    assert Path(content['images'][0][0]).is_absolute()


def test_listed_classes_fix_the_order(folder):
    text = SOURCES + 'classes: [triangle, circle, square]'
    assert prepare(folder, text)['train'].classes == ('triangle', 'circle', 'square')


def test_folders_below_a_class_belong_to_it(folder):
    (folder / 'train/circle/red').mkdir()
    first(folder).rename(folder / 'train/circle/red/0000.png')
    assert prepare(folder)['train'].counts.tolist() == [2, 2, 2]


def test_hidden_files_are_left_alone_and_others_counted(folder):
    (folder / 'train/circle/.hidden.png').write_bytes(b'')
    (folder / 'train/circle/Thumbs.db').write_bytes(b'')
    (folder / 'train/.cache').mkdir()
    (folder / 'train/notes.txt').write_text('')
    train = prepare(folder)['train']
    (note,) = train.notes
    assert len(train.images) == 6
    assert '1 file(s) of ' in note
    assert note.endswith('train are not used: 1 .txt; first notes.txt')


def test_several_sources_are_joined(folder):
    text = SOURCES.replace('train: {images: train}', 'train: [{images: train}, {images: test}]')
    assert len(prepare(folder, text)['train'].images) == 9


def test_a_folder_may_be_empty_where_another_source_has_its_class(folder):
    shutil.rmtree(folder / 'test/circle')
    (folder / 'test/circle').mkdir()
    text = SOURCES.replace('train: {images: train}', 'train: [{images: train}, {images: test}]')
    assert prepare(folder, text)['train'].counts.tolist() == [2, 3, 3]


def test_labels_of_a_test_split_are_those_of_train(folder):
    shutil.rmtree(folder / 'test/circle')
    test = prepare(folder, SOURCES + 'test: {images: test}', ('test',))['test']
    assert test.classes == CLASSES
    assert [label for _, label in test.images] == [1, 2]


def test_a_test_split_can_be_read_where_train_is_not(folder):
    shutil.rmtree(folder / 'train/circle')
    (folder / 'train.txt').write_text('circle/0000.png\n0001.png')
    text = SOURCES.replace('images: train', 'images: train, list: train.txt')
    assert len(prepare(folder, text, ('val',))['val'].images) == 6
    shutil.rmtree(folder / 'train')
    assert len(prepare(folder, text, ('val',))['val'].images) == 6


def test_one_folder_is_split_by_chance_once(folder):
    text = 'data: {images: train}\nsplit: {val: 0.2, test: 0.2, seed: 4}'
    splits = ('train', 'val', 'test')
    drawn = prepare(folder, text, splits)
    paths = [path for name in splits for path, _ in drawn[name].images]
    assert len(paths) == len(set(paths)) == 6
    assert (
        drawn['train'].notes[0].startswith('split: images of each class, train/val/test: circle ')
    )
    again = prepare(folder, text, splits)
    for name in splits:
        assert list(again[name].images) == list(drawn[name].images)


def test_folds_are_blocks_of_every_class(folder):
    text = 'data: {images: train}\nsplit: {folds: 2, fold: 1}'
    prepared = prepare(folder, text)
    assert prepared['train'].counts.tolist() == prepared['val'].counts.tolist() == [1, 1, 1]
    (folder / 'mine.split.json').unlink()
    message = refusal(folder, text.replace('folds: 2', 'folds: 3'))
    assert "3 folds need as many images of every class, and class 'circle' has 2" in message


def test_a_list_takes_paths_and_names_that_are_unique(folder):
    (folder / 'train.txt').write_text('circle/0000.png\n0001.png\n\n0002.png\n./square/0004.png\n')
    text = SOURCES.replace('images: train', 'images: train, list: train.txt')
    assert names_and_labels(prepare(folder, text)['train']) == [
        ('0000.png', 0),
        ('0001.png', 1),
        ('0004.png', 1),
        ('0002.png', 2),
    ]


def test_names_and_labels_of_a_list_may_hold_blanks(flat):
    (flat / 'flat/0.png').rename(flat / 'flat/a b.png')
    (flat / 'train.txt').write_text('a b.png traffic light\n1.png sky')
    val = '\nval: {images: flat, list: val.txt}'
    (flat / 'val.txt').write_text('2.png sky')
    train = prepare(flat, FLAT.split('\n')[0] + val)['train']
    assert train.classes == ('sky', 'traffic light')
    assert names_and_labels(train) == [('1.png', 0), ('a b.png', 1)]


@pytest.mark.parametrize('start', [0, 1])
def test_numbers_are_positions_among_the_classes(flat, start):
    lines = [f'{i}.png {i // 2 + start}' for i in range(6)]
    (flat / 'train.txt').write_text('\n'.join(lines))
    text = FLAT + NAMES + f'first_label: {start}'
    assert names_and_labels(prepare(flat, text)['train']) == [
        (f'{i}.png', i // 2) for i in range(6)
    ]


def test_labels_may_decide_though_images_lie_in_folders(folder):
    text = SOURCES.replace('images: train', 'images: train, list: train.txt, class_from: list')
    (folder / 'train.txt').write_text('0000.png square\n0001.png square\n0002.png circle')
    shutil.rmtree(folder / 'val/triangle')
    assert names_and_labels(prepare(folder, text)['train']) == [
        ('0000.png', 1),
        ('0001.png', 1),
        ('0002.png', 0),
    ]


@pytest.mark.skipif(not TRASHNET.is_dir(), reason='needs trashnet_small')
def test_the_official_lists_of_trashnet_are_taken(tmp_path):
    text = f'root: {TRASHNET}\n' + ''.join(
        f'{name}: {{images: images, list: one-indexed-files-notrash_{name}.txt}}\n'
        for name in ('train', 'val', 'test')
    )
    prepared = prepare(tmp_path, text, ('train', 'val', 'test'))
    assert [len(split.images) for split in prepared.values()] == [1768, 328, 431]
    assert prepared['train'].classes == ('cardboard', 'glass', 'metal', 'paper', 'plastic', 'trash')
    inspection = inspect_dataset(read_dataset(tmp_path / 'mine.yaml'), ('train',), scan_images)
    assert inspection.two_labels()


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            '0.png cat\n9.png cat\n8.png dog',
            r"train.txt, line 2: '9.png cat' names no image in .*flat \(2 of 3 lines do not: "
            r"'9.png cat', '8.png dog'\)",
        ),
        (
            '0.png cat\nFLAT\\\\0.PNG cat',
            r'0.png is there, and differs in backslashes for / and the folder',
        ),
        ('0.png cat\n0.png dog', "line 2: '0.png dog' is the image of line 1"),
        ('0.png cat\n0.png cat', "names '0.png cat' twice"),
        ('', 'is empty'),
        (None, 'does not exist'),
        ('0.png\n1.png', "line 1: '0.png' tells no class: .* so a label must follow its name"),
        (
            '0.png 3\n1.png 4',
            r'has numbers for labels \(3 to 4\), .* Name the classes in the order',
        ),
        (b'caf\xe9.png cat', 'is no text in UTF-8'),
    ],
)
def test_a_wrong_list_is_refused_by_line(flat, lines, message):
    if lines is not None:
        (flat / 'train.txt').write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    with pytest.raises(InputError, match=message):
        prepare(flat, FLAT)


def test_a_name_that_fits_two_images_is_refused(folder):
    shutil.copy(first(folder), folder / 'train/square/0000.png')
    (folder / 'train.txt').write_text('0000.png')
    text = SOURCES.replace('images: train', 'images: train, list: train.txt')
    assert 'circle/0000.png or' in refusal(folder, text)
    assert 'square/0000.png; name the folder as well' in refusal(folder, text)


def test_labels_counted_from_one_are_refused_with_what_to_do(flat):
    (flat / 'train.txt').write_text('\n'.join(f'{i}.png {i // 2 + 1}' for i in range(6)))
    message = refusal(flat, FLAT + NAMES)
    assert 'has labels from 1 to 3, but without first_label the 3 names' in message
    assert 'Add first_label: 1 there.' in message


def test_a_number_beyond_the_classes_is_refused_by_line(flat):
    (flat / 'train.txt').write_text('0.png 0\n1.png 5')
    message = refusal(flat, FLAT + NAMES)
    assert "line 2: '1.png 5' has label 5, but the 3 names" in message
    assert 'have the numbers 0 to 2' in message


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            ['0000.png 1', '0003.png 1', '0001.png 2', '0004.png 1'],
            "gives label '1' to an image in folder 'square', but",
        ),
        (
            ['0000.png 1', '0001.png 1'],
            "folder 'square', but '1' is the label of folder 'circle' already",
        ),
        (
            ['0000.png square', '0001.png circle'],
            "in folder 'circle', but 'square' is another folder",
        ),
    ],
)
def test_labels_that_contradict_the_folders_are_refused(folder, lines, message):
    (folder / 'train.txt').write_text('\n'.join(lines))
    refused = refusal(folder, SOURCES.replace('images: train', 'images: train, list: train.txt'))
    assert message in refused
    assert 'where folders are no classes, write class_from: list' in refused


def test_a_missing_folder_is_refused(folder):
    shutil.rmtree(folder / 'val')
    message = f'folder {folder / "val"} (val of {folder / "mine.yaml"}) does not exist'
    assert refusal(folder) == message


def test_an_empty_split_is_refused(folder):
    for path in (folder / 'val').rglob('*.png'):
        path.unlink()
    assert f'image folder {folder / "val"}' in refusal(folder)
    assert 'holds no image, nor do the folders in it' in refusal(folder)


def test_images_without_folders_are_refused(flat):
    message = refusal(flat, SOURCES.replace('images: train', 'images: flat'))
    assert 'lie in no folders, so nothing tells their class' in message
    assert 'NAME LABEL in each line by list:' in message


def test_a_random_split_leaves_an_image_of_every_class_in_train(folder):
    for seed in range(8):
        text = f'data: {{images: train}}\nsplit: {{val: 0.5, seed: {seed}}}'
        assert prepare(folder, text)['train'].counts.tolist() == [1, 1, 1]
        (folder / 'mine.split.json').unlink()
    for path in folder.glob('train/*/000[13579].png'):
        path.unlink()
    message = refusal(folder, 'data: {images: train}\nsplit: {val: 0.4, test: 0.4}')
    assert '3 image(s) are too few to be split' in message
    assert 'one for every part at least, and for train one of every class' in message
