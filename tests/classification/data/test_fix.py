"""What can be fixed is gone from the copy, and the files of the user stay as they are."""

import json
import shutil

import pytest

pytest.importorskip('mmpretrain')
from classification_data import NAMES, SOURCES, first

from casvit_mm import InputError
from casvit_mm.classification.data.checks import inspect_dataset
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.datasets.image_scan import scan_images
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.engine.data_check import check_dataset


def fix(folder, text=SOURCES):
    """Fix the data; return what the copy holds and its changes by kind."""
    (folder / 'mine.yaml').write_text(text)
    assert check_dataset(folder / 'mine.yaml', folder / 'out', fix=folder / 'clean')
    data = read_dataset(folder / 'clean/dataset.yaml')
    changes = json.loads((folder / 'clean/changes.json').read_text())
    copy = inspect_dataset(data, ('train', 'val'), scan_images)
    assert copy.trainable()
    return copy, {change['kind'] for change in changes}


def sizes(copy):
    return [len(copy.usable(name)) for name in ('train', 'val')]


def unreadable(folder):
    first(folder).write_bytes(b'no image')


def cut(folder):
    first(folder).write_bytes(first(folder).read_bytes()[:-20])


def twice(folder):
    shutil.copy(first(folder), folder / 'train/circle/a copy.png')


def in_two_splits(folder):
    shutil.copy(folder / 'val/circle/0000.png', first(folder))


def two_labels(folder):
    shutil.copy(first(folder), folder / 'train/square/copy.png')


def beside_the_folders(folder):
    shutil.copy(folder / 'val/circle/0000.png', folder / 'train/stray.png')


def empty_folder(folder):
    (folder / 'train/star').mkdir()


@pytest.mark.parametrize(
    ('plant', 'kind', 'left'),
    [
        (unreadable, 'unreadable image', 5),
        (cut, 'unreadable image', 5),
        (twice, 'image twice in a split', 6),
        (in_two_splits, 'image in two splits', 5),
        (two_labels, 'image with two labels', 5),
        (beside_the_folders, 'image beside the class folders', 6),
        (empty_folder, 'empty class folder', 6),
    ],
)
def test_what_cannot_be_used_is_left_out(folder, plant, kind, left):
    plant(folder)
    before = sorted(folder.glob('*/**/*'))
    copy, changes = fix(folder)
    assert kind in changes
    assert sizes(copy) == [left, 6]
    assert copy.classes == tuple(CLASSES)
    assert not any(copy.issues.values())
    assert [path for path in sorted(folder.glob('*/**/*')) if path in before] == before


def test_class_folders_are_joined_and_renamed_as_classes_says(folder):
    (folder / 'train/square').rename(folder / 'train/Circle')
    (folder / 'val/square').rename(folder / 'val/CIRCLE ')
    text = SOURCES + "classes: {circle: [circle, Circle, 'CIRCLE '], drei: triangle}"
    copy, changes = fix(folder, text)
    assert copy.classes == ('circle', 'drei')
    assert copy.counts('train').tolist() == copy.counts('val').tolist() == [4, 2]
    assert changes == {'name that counts as a class'}


def test_lists_are_brought_in_order(folder):
    names = [path.relative_to(folder / 'train') for path in sorted(folder.glob('train/*/*'))]
    lines = [f'{name} {1 + list(CLASSES).index(name.parts[0])}' for name in names]
    (folder / 'list.txt').write_text('\n'.join([*lines, 'gone.png 1', f'./{lines[0]}']))
    text = SOURCES.replace('{images: train}', '{images: train, list: list.txt, class_from: list}')
    copy, changes = fix(folder, f'{text}{NAMES}first_label: 1')
    assert changes == {'listed image missing', 'listed twice'}
    assert copy.counts('train').tolist() == [2, 2, 2]
    assert (folder / 'clean/train.txt').read_text().startswith('circle/0000.png circle\n')


def test_one_set_stays_one_set_where_an_issue_kept_it_whole(folder):
    names = [str(path.relative_to(folder / 'train')) for path in folder.glob('train/*/*')]
    (folder / 'list.txt').write_text('\n'.join([*names, 'gone.png']))
    copy, _ = fix(folder, 'data: {images: train, list: list.txt}\nsplit: {val: 0.5, seed: 2}')
    assert copy.data.split == read_dataset(folder / 'mine.yaml').split
    assert sizes(copy) == [3, 3]


def test_images_of_several_folders_have_a_list_each(folder):
    twice(folder)
    copy, _ = fix(folder, 'train: [{images: train}, {images: test}]\nval: {images: val}')
    assert sizes(copy) == [9, 6]


def test_what_only_a_person_can_fix_is_refused_and_nothing_is_written(folder):
    (folder / 'val/circle').rename(folder / 'val/Circle')
    with pytest.raises(InputError, match=r'fixed by hand .*\n.*class that train lacks.*join them'):
        fix(folder)
    assert not (folder / 'clean').exists()
    (folder / 'val/Circle').rename(folder / 'val/circle')
    for path in folder.glob('train/circle/*'):
        path.write_bytes(b'')
    with pytest.raises(InputError, match=r"would leave class 'circle' of train of .* an image"):
        fix(folder)
    assert not (folder / 'clean').exists()


def test_blanks_around_the_name_of_a_class_go_unless_another_has_that_name(folder):
    for split in ('train', 'val', 'test'):
        (folder / split / 'square').rename(folder / split / 'Big square ')
    copy, _ = fix(folder)
    assert copy.classes == ('Big square', 'circle', 'triangle')
    shutil.rmtree(folder / 'clean')
    for split in ('train', 'val', 'test'):
        (folder / split / 'triangle').rename(folder / split / 'circle ')
    with pytest.raises(InputError, match=r"cannot tell classes 'circle' and 'circle ' apart.*join"):
        fix(folder)


def test_a_name_that_no_list_can_hold_is_refused(folder):
    twice(folder)
    first(folder).rename(first(folder).with_name('a\nb.png'))
    with pytest.raises(InputError, match=r"in which 'circle/a\\nb\.png circle' cannot stand"):
        fix(folder)
