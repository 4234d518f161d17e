"""What can be fixed is gone from the copy, and the files of the user stay as they are."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg')
from helpers import grey_png
from segmentation_data import NAMES, SOURCES, change_label, first_label

from casvit_mm import InputError
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.segmentation.data.checks import inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset

VALUES = 'classes: {ground: 0, circle: 10, square: 20, triangle: 30}\n'


def fix(folder, text=SOURCES + NAMES):
    """Fix the data; return what the copy holds and its changes by kind."""
    (folder / 'mine.yaml').write_text(text)
    assert check_dataset(folder / 'mine.yaml', folder / 'out', fix=folder / 'clean')
    data = read_dataset(folder / 'clean/dataset.yaml')
    changes = json.loads((folder / 'clean/changes.json').read_text())
    return inspect_dataset(data, ('train', 'val')), {change['kind'] for change in changes}


def values(copy, number=0):
    return values_of(copy.pairs['train'][number].label)


def values_of(path):
    return np.asarray(Image.open(path))


def cut_image(folder):
    path = folder / 'train/0001.png'
    path.write_bytes(path.read_bytes()[:200])


def another_size(folder):
    Image.open(first_label(folder)).resize((32, 64)).save(first_label(folder))


def another_size_with_values_between(folder):
    mask = Image.open(first_label(folder)).resize((32, 64))
    mask.putpixel((3, 3), 77)  # as interpolation leaves it
    mask.save(first_label(folder))


def empty_label(folder):
    first_label(folder).write_bytes(b'')


def no_label(folder):
    first_label(folder).unlink()


@pytest.mark.parametrize(
    ('plant', 'kind'),
    [
        (cut_image, 'unreadable image'),
        (another_size, 'label of another size'),
        (another_size_with_values_between, 'label of another size'),
        (empty_label, 'unreadable label'),
        (no_label, 'image without label'),
    ],
)
def test_pairs_that_cannot_be_used_are_left_out(folder, plant, kind):
    plant(folder)
    copy, changes = fix(folder)
    assert changes == {kind}
    assert [len(copy.pairs[name]) for name in ('train', 'val')] == [3, 3]
    assert copy.trainable()


def test_names_that_differ_are_paired_and_the_pairing_is_printed(folder, capsys):
    old = values_of(folder / 'train_labels/0002.png')
    for path in (folder / 'train_labels').iterdir():
        path.rename(path.with_name(f'mask_{path.name}'))
    for path in (folder / 'train').iterdir():
        path.rename(path.with_name(f'img_{path.stem}.PNG'))
    copy, changes = fix(folder)
    assert changes == {'names that differ'}
    assert [Path(pair.image).name for pair in copy.pairs['train']][1] == 'img_0002.PNG'
    np.testing.assert_array_equal(values(copy, 1), old)
    printed = capsys.readouterr().out
    assert '4 pairs by names: img_0001.PNG ~ mask_0001.png, img_0002.PNG ~' in printed
    assert '4 images and labels here agree but for what those of a folder begin' in printed


def test_masks_of_16_bits_2_bits_and_equal_channels_are_written_with_the_same_values(folder):
    paths = sorted((folder / 'train_labels').iterdir())
    old = [np.asarray(Image.open(path)) for path in paths]
    Image.fromarray(old[0].astype(np.uint16)).save(paths[0])
    Image.fromarray(np.repeat(old[1][..., None], 3, axis=2)).save(paths[1])
    paths[2].write_bytes(grey_png(64, 64, 2, (b'\x00' + b'\x1b' * 16) * 64))
    before = [path.read_bytes() for path in paths]
    copy, changes = fix(folder)
    assert changes == {'label of more than 8 bits', 'label in colours', 'label of 2 or 4 bits'}
    np.testing.assert_array_equal(values(copy, 0), old[0])
    np.testing.assert_array_equal(values(copy, 1), old[1])
    assert values(copy, 2)[0, :4].tolist() == [0, 1, 2, 3]
    assert [path.read_bytes() for path in paths] == before


def test_values_of_classes_become_indices(folder):
    old = np.asarray(Image.open(first_label(folder)))
    for path in folder.glob('*_labels/*'):
        label = np.asarray(Image.open(path))
        Image.fromarray(np.where(label == 255, 255, label * 10).astype(np.uint8)).save(path)
    copy, changes = fix(folder, SOURCES + VALUES)
    assert changes == {'values or colours of classes'}
    assert copy.data.values is None
    np.testing.assert_array_equal(values(copy), old)


def test_images_of_train_that_are_also_in_val_are_taken_out_of_train(folder):
    text = 'train: [{images: train, labels: train_labels}, {images: val, labels: val_labels}]\n'
    copy, changes = fix(folder, text + SOURCES.split('\n')[1] + '\n' + NAMES)
    assert 'splits share images' in changes
    assert [len(copy.pairs[name]) for name in ('train', 'val')] == [4, 3]


def test_of_an_image_that_occurs_twice_one_is_kept_if_the_masks_are_equal(folder):
    for end in ('', '_labels'):
        for name in ('same', 'other'):
            shutil.copy(folder / f'train{end}/0001.png', folder / f'train{end}/{name}.png')
    Image.new('L', (64, 64), 1).save(folder / 'train_labels/other.png')
    copy, changes = fix(folder)
    assert changes == {'image twice in a split'}
    kept = [Path(pair.image).name for pair in copy.pairs['train']]
    assert kept == ['0001.png', '0002.png', '0003.png', '0004.png', 'other.png']


def test_one_set_stays_one_set_where_it_could_not_be_split(folder):
    no_label(folder)
    text = 'data: {images: train, labels: train_labels}\nsplit: {val: 0.3, seed: 2}\n'
    copy, _ = fix(folder, text + NAMES)
    assert copy.data.split == read_dataset(folder / 'mine.yaml').split
    assert [len(copy.pairs[name]) for name in ('train', 'val')] == [2, 1]


def test_what_only_a_person_can_fix_is_refused_and_nothing_is_written(folder):
    change_label(folder, 9)
    with pytest.raises(InputError, match=r'fixed by hand .*\n.*value outside the classes'):
        fix(folder)
    assert not (folder / 'clean').exists()


def test_16_bits_that_would_lose_values_are_left_to_a_person(folder):
    label = np.asarray(Image.open(first_label(folder))).astype(np.uint16) + 256
    Image.fromarray(label).save(first_label(folder))
    with pytest.raises(InputError, match='label of more than 8 bits'):
        fix(folder)


def test_a_copy_writes_over_nothing(folder):
    fix(folder)
    with pytest.raises(InputError, match=r'labels, changes\.json, dataset\.yaml exist there'):
        fix(folder)
