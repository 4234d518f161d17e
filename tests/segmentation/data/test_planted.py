"""Checks of segmentation data: every planted issue is found once, and nothing else."""

import shutil
from collections import Counter

import numpy as np
import pytest
from helpers import grey_png
from PIL import Image, ImageEnhance

pytest.importorskip('mmseg')
from segmentation_data import NAMES, change_label, first_label

from casvit_mm import InputError
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.image_scan import scan_images
from casvit_mm.segmentation.data.checks import inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.issues import ISSUE_KINDS
from casvit_mm.segmentation.data.prepare import prepare_dataset

PLANTS = {}
ALSO = {'splits share images': {'image in two splits'}}
BY_REPORT = {'rare class', 'values or colours of classes'}


def plant(kind):
    return lambda function: PLANTS.setdefault(kind, function)


def describe(folder, old, new):
    path = folder / 'dataset.yaml'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def use_list(folder, *more):
    """Let train take its images by a list, with ``more`` lines."""
    names = [path.name for path in sorted((folder / 'train').iterdir())]
    (folder / 'list.txt').write_text('\n'.join([*names, *more]))
    describe(folder, 'labels: train_labels}', 'labels: train_labels, list: list.txt}')


@plant('missing folder')
def no_folder(folder):
    shutil.rmtree(folder / 'val')


@plant('empty split')
def no_image(folder):
    for path in (folder / 'test').iterdir():
        path.unlink()


@plant('unusable list')
def no_list(folder):
    use_list(folder)
    (folder / 'list.txt').unlink()


@plant('listed image missing')
def gone(folder):
    use_list(folder, 'gone.png')


@plant('listed twice')
def twice_in_the_list(folder):
    use_list(folder, '0001')


@plant('ambiguous name')
def two_suffixes(folder):
    Image.open(folder / 'train/0001.png').save(folder / 'train/0001.jpg')


@plant('files not used')
def beside_the_masks(folder):
    (folder / 'train_labels/notes.txt').touch()


@plant('names that differ')
def another_case(folder):
    (folder / 'train/0001.png').rename(folder / 'train/A.png')
    first_label(folder).rename(folder / 'train_labels/a.png')


@plant('image without label')
def no_label(folder):
    first_label(folder).unlink()


@plant('label without image')
def no_image_of_a_label(folder):
    (folder / 'train/0001.png').unlink()


@plant('JPEG label')
def jpeg(folder):
    Image.open(first_label(folder)).convert('L').save(first_label(folder), format='JPEG')


@plant('unreadable label')
def cut_label(folder):
    first_label(folder).write_bytes(first_label(folder).read_bytes()[:-40])


@plant('unreadable image')
def cut_image(folder):
    path = folder / 'train/0001.png'
    path.write_bytes(path.read_bytes()[:-40])


@plant('label in colours')
def colours(folder):
    text = (folder / 'dataset.yaml').read_text()
    (folder / 'dataset.yaml').write_text(text.partition('classes:')[0] + NAMES)
    Image.open(first_label(folder)).convert('RGB').save(first_label(folder))


@plant('label of more than 8 bits')
def sixteen_bits(folder):
    values = np.asarray(Image.open(first_label(folder)))
    Image.fromarray(values.astype(np.uint16)).save(first_label(folder))


@plant('label of 2 or 4 bits')
def four_bits(folder):
    first_label(folder).write_bytes(grey_png(64, 64, 4, (b'\x00' + b'\x12' * 32) * 64))


@plant('label of another size')
def another_size(folder):
    Image.open(first_label(folder)).resize((32, 64)).save(first_label(folder))


@plant('value outside the classes')
def foreign(folder):
    change_label(folder, 9)


@plant('nothing to learn')
def one_class(folder):
    for path in (folder / 'train_labels').iterdir():
        Image.new('L', (64, 64), 1).save(path)


@plant('splits share images')
def shared(folder):
    (folder / 'one.txt').write_text('0001')
    sources = '[{images: val, labels: val_labels}, {images: train, labels: train_labels, list: '
    describe(folder, '{images: val, labels: val_labels}', f'{sources}one.txt}}]')


@plant('class without pixels')
def class_gone(folder):
    for path in (folder / 'test_labels').iterdir():
        values = np.asarray(Image.open(path)).copy()
        values[values == 2] = 0
        Image.fromarray(values).save(path)


@plant('class names alike')
def names_alike(folder):
    describe(folder, '  square:', "  'Circle ':")


@plant('class that is ignored')
def class_ignored(folder):
    describe(folder, 'ignore: 255', 'ignore: 3')


@plant('label map ignored as a whole')
def ignored(folder):
    Image.new('L', (64, 64), 255).save(first_label(folder))


@plant('image twice in a split')
def twice(folder):
    for name in ('train', 'train_labels'):
        shutil.copy(folder / name / '0001.png', folder / name / 'copy.png')


@plant('image in two splits')
def in_two_splits(folder):
    for end in ('', '_labels'):
        shutil.copy(folder / f'train{end}/0001.png', folder / f'val{end}/copy.png')


@plant('near-duplicate across splits')
def nearly_in_two_splits(folder):
    in_two_splits(folder)
    path = folder / 'val/copy.png'
    ImageEnhance.Brightness(Image.open(path)).enhance(1.05).save(path)


@pytest.mark.parametrize('kind', PLANTS)
def test_a_planted_issue_is_found_once_and_training_says_the_same(folder, kind):
    PLANTS[kind](folder)
    data = read_dataset(folder / 'dataset.yaml')
    inspection = inspect_dataset(data, SPLITS, scan_images)
    found = Counter(issue.kind for issues in inspection.issues.values() for issue in issues)
    for consequence in ALSO.get(kind, ()):
        found.pop(consequence)
    assert found == {kind: 1}
    assert all(issue.where.strip() for issues in inspection.issues.values() for issue in issues)
    try:
        prepare_dataset(data, SPLITS, folder / 'prepared')
        starts = True
    except InputError:
        starts = False
    assert inspection.trainable() == starts


def test_every_kind_is_planted():
    # Of objects that are drawn into masks; test_rasters plants them.
    drawn = {'unreadable annotations', 'unreadable source', 'annotations not used'}
    drawn |= {'object without mask'}
    assert set(PLANTS) == set(ISSUE_KINDS) - BY_REPORT - drawn


def test_a_clean_set_has_no_issue(folder):
    data = read_dataset(folder / 'dataset.yaml')
    inspection = inspect_dataset(data, SPLITS, scan_images)
    assert inspection.issues == dict(train=[], val=[], test=[])
