"""Checks of classification data: every planted issue is found once, and nothing else."""

import shutil
from collections import Counter

import pytest
from PIL import Image, ImageEnhance

pytest.importorskip('mmpretrain')
from classification_data import first

from casvit_mm import InputError
from casvit_mm.classification.data.checks import inspect_dataset
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.issues import ISSUE_KINDS
from casvit_mm.classification.data.prepare import prepare_dataset
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.image_scan import scan_images

PLANTS = {}
ALSO = {
    'image with two labels': {'image twice in a split'},
    'splits share images': {'image in two splits'},
    'only one class': {'image beside the class folders'},
    'class without images': {'class not measured'},
}
BY_REPORT = {'rare class', 'name that counts as a class'}
BY_ANNOTATIONS = {'several classes'}  # of a labelling tool: test_annotated.py


def plant(kind):
    return lambda function: PLANTS.setdefault(kind, function)


def describe(folder, old, new):
    path = folder / 'dataset.yaml'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def use_list(folder, *more, **fields):
    """Let train take its images by a list, with ``more`` lines."""
    names = [path.relative_to(folder / 'train') for path in sorted(folder.glob('train/*/*'))]
    (folder / 'list.txt').write_text('\n'.join([*map(str, names), *more]))
    beside = ''.join(f', {name}: {value}' for name, value in fields.items())
    describe(folder, '{images: train}', f'{{images: train, list: list.txt{beside}}}')


@plant('missing folder')
def no_folder(folder):
    describe(folder, '{images: val}', '{images: nowhere}')


@plant('empty split')
def no_image(folder):
    (folder / 'empty').mkdir()
    describe(folder, '{images: test}', '{images: empty}')


@plant('unusable list')
def no_list(folder):
    describe(folder, '{images: train}', '{images: train, list: nowhere.txt}')


@plant('listed image missing')
def gone(folder):
    use_list(folder, 'circle/gone.png')


@plant('listed twice')
def twice_in_the_list(folder):
    use_list(folder, './circle/0000.png')


@plant('ambiguous name')
def of_two_folders(folder):
    shutil.copy(folder / 'test/square/0001.png', folder / 'train/square/new.png')
    shutil.copy(folder / 'test/circle/0000.png', folder / 'train/circle/new.png')
    describe(folder, 'test: {images: test}', '')
    use_list(folder)
    path = folder / 'list.txt'
    path.write_text(path.read_text().replace('square/new.png\n', '').replace('circle/new', 'new'))


@plant('files not used')
def beside_the_images(folder):
    (folder / 'train/circle/notes.txt').touch()


@plant('image without class')
def in_no_folder(folder):
    shutil.copy(folder / 'test/circle/0000.png', folder / 'train/new.png')
    describe(folder, 'test: {images: test}', '')
    use_list(folder, 'new.png')


@plant('label disagrees with folder')
def another_label(folder):
    use_list(folder)
    path = folder / 'list.txt'
    lines = [f'{line} {line.split("/")[0]}' for line in path.read_text().split('\n')]
    path.write_text('\n'.join([lines[0].replace(' circle', ' square'), *lines[1:]]))
    shutil.copy(folder / 'test/circle/0000.png', folder / 'train/circle/new.png')
    describe(folder, 'test: {images: test}', '')
    path.write_text(path.read_text() + '\ncircle/new.png circle')


@plant('unknown label')
def a_number_too_large(folder):
    use_list(folder, class_from='list')
    describe(folder, 'train:', 'classes: [circle, square, triangle]\ntrain:')
    names = (folder / 'list.txt').read_text().split('\n')
    numbers = [0, 0, 1, 1, 2, 2, 3]
    shutil.copy(folder / 'test/circle/0000.png', folder / 'train/circle/new.png')
    describe(folder, 'test: {images: test}', '')
    lines = zip([*names, 'circle/new.png'], numbers, strict=True)
    (folder / 'list.txt').write_text('\n'.join(f'{name} {number}' for name, number in lines))


@plant('image beside the class folders')
def stray(folder):
    (folder / 'test/circle/0000.png').rename(folder / 'train/stray.png')
    describe(folder, 'test: {images: test}', '')


@plant('empty class folder')
def empty_folder(folder):
    (folder / 'train/star').mkdir()


@plant('class without images')
def never_there(folder):
    describe(folder, 'train:', 'classes: [circle, square, star, triangle]\ntrain:')


@plant('class not under classes:')
def not_named(folder):
    describe(folder, 'train:', 'classes: [circle, square]\ntrain:')
    for split in ('val', 'test'):
        shutil.rmtree(folder / split / 'triangle')


@plant('class that train lacks')
def of_val_alone(folder):
    (folder / 'val/star').mkdir()
    (folder / 'test/circle/0000.png').rename(folder / 'val/star/new.png')
    describe(folder, 'test: {images: test}', '')


@plant('only one class')
def one_folder_too_high(folder):
    for name in ('square', 'triangle'):
        for split in SPLITS:
            shutil.rmtree(folder / split / name)
    shutil.copy(folder / 'test/circle/0000.png', folder / 'train/stray.png')
    describe(folder, 'test: {images: test}', '')


@plant('class not measured')
def not_in_test(folder):
    shutil.rmtree(folder / 'test/circle')


@plant('class names alike')
def alike(folder):
    for split in SPLITS:
        (folder / split / 'square').rename(folder / split / 'Circle ')


@plant('folders of splits as classes')
def splits_as_classes(folder):
    (folder / 'all').mkdir()
    for split in ('train', 'val'):
        (folder / split).rename(folder / 'all' / split)
    (folder / 'dataset.yaml').write_text('data: {images: all}\nsplit: {val: 0.3}')


@plant('unreadable image')
def cut(folder):
    first(folder).write_bytes(first(folder).read_bytes()[:-40])


@plant('splits share images')
def shared(folder):
    names = [f'{path.parent.name}/{path.name}' for path in sorted(folder.glob('train/*/*'))]
    (folder / 'one.txt').write_text(names[0])
    describe(folder, '{images: val}', '[{images: val}, {images: train, list: one.txt}]')


@plant('image with two labels')
def two_labels(folder):
    shutil.copy(first(folder), folder / 'train/square/copy.png')


@plant('image twice in a split')
def twice(folder):
    shutil.copy(first(folder), folder / 'train/circle/copy.png')


@plant('image in two splits')
def in_two_splits(folder):
    shutil.copy(first(folder), folder / 'val/circle/copy.png')


@plant('near-duplicate across splits')
def nearly_in_two_splits(folder):
    image = ImageEnhance.Brightness(Image.open(first(folder))).enhance(1.05)
    image.save(folder / 'val/circle/copy.png')


@pytest.mark.parametrize('kind', PLANTS)
def test_a_planted_issue_is_found_once_and_training_says_the_same(folder, kind):
    PLANTS[kind](folder)
    data = read_dataset(folder / 'dataset.yaml')
    inspection = inspect_dataset(data, tuple(data.splits), scan_images)
    found = Counter(issue.kind for issues in inspection.issues.values() for issue in issues)
    for consequence in ALSO.get(kind, ()):
        found.pop(consequence)
    assert found == {kind: 1}
    assert all(issue.where.strip() for issues in inspection.issues.values() for issue in issues)
    try:
        prepare_dataset(data, tuple(data.splits), folder / 'prepared')
        starts = True
    except InputError:
        starts = False
    assert inspection.trainable() == starts


def test_every_kind_is_planted():
    assert set(PLANTS) == set(ISSUE_KINDS) - BY_REPORT - BY_ANNOTATIONS


def test_a_clean_set_has_no_issue(folder):
    data = read_dataset(folder / 'dataset.yaml')
    inspection = inspect_dataset(data, SPLITS, scan_images)
    assert inspection.issues == dict(train=[], val=[], test=[])
