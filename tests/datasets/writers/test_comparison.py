"""What was written is read again and compared with what it was written of."""

import copy

import pytest
from PIL import Image

from casvit_mm.datasets.formats.outlines import box_fields, polygon_fields
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.datasets.writers.comparison import compare_sets
from casvit_mm.datasets.writers.registry import WRITERS, write_set
from casvit_mm.detection.data.convert import labelled_set

SIZE = (80, 40)


def one(fields, category=1):
    return dict(category_id=category, iscrowd=0, **fields)


@pytest.fixture
def made(tmp_path):
    categories = [dict(id=1, name='car'), dict(id=2, name='dog')]
    objects = [
        one(box_fields(1, 2, 11, 12)),
        one(polygon_fields([[20, 2, 30, 2, 30, 12], [40, 2, 50, 2, 50, 12]], *SIZE), 2),
    ]
    splits = {}
    for i, split in enumerate(('train', 'val')):
        file = tmp_path / f'{split}.png'
        Image.new('RGB', SIZE, (i, 9, 9)).save(file)
        splits[split] = [ImageLabels(file, file.name, *SIZE, [dict(o) for o in objects])]
    return LabelledSet('detection', categories, splits)


def compared(made, tmp_path, to, change=lambda again: None):
    before = copy.deepcopy(made)
    written = write_set(made, to, tmp_path / 'out')
    for old, new in zip(before.images(), made.images(), strict=True):
        old.name = new.name
    again, _ = labelled_set(written)
    change(again)
    return compare_sets(before, again, tmp_path / 'out')


@pytest.mark.parametrize('to', WRITERS)
def test_all_objects_are_found_again_in_every_format(made, tmp_path, to):
    found = compared(made, tmp_path, to)
    assert (found.number, found.missing, len(found.box_ious)) == (4, 0, 4)
    assert max(found.shifts) < 1e-5
    assert len(found.mask_ious) == (0 if to == 'voc' else 2)
    if to in ('coco', 'labelme', 'cvat'):
        assert found.lines()[2:] == [
            '  IoU of boxes: least 1.000000, mean 1.000000, below 1: 0',
            '  IoU of 2 masks: least 1.000000, mean 1.000000, below 1: 0',
        ]


def test_differences_are_measured(made, tmp_path):
    def shift(again):
        first = next(again.images()).objects
        first[0]['bbox'] = [2, 2, 10, 10]

    found = compared(made, tmp_path, 'coco', shift)
    assert max(found.shifts) == 1
    assert min(found.box_ious) == pytest.approx(90 / 110)


def test_masks_that_differ_are_measured(made, tmp_path):
    made.splits['train'][0].objects[1] = one(
        polygon_fields([[20, 2, 40, 2, 40, 12, 20, 12]], *SIZE), 2
    )

    def halve(again):
        fields = polygon_fields([[20, 2, 30, 2, 30, 12, 20, 12]], *SIZE)
        next(again.images()).objects[1].update(segmentation=fields['segmentation'])

    assert min(compared(made, tmp_path, 'coco', halve).mask_ious) == 0.5


@pytest.mark.parametrize('which', ['object', 'class', 'image'])
def test_what_is_not_there_is_missing(made, tmp_path, which):
    def drop(again):
        images = again.splits['train']
        if which == 'image':
            images.clear()
        elif which == 'class':
            images[0].objects[0]['category_id'] = 2
        else:
            del images[0].objects[0]  # the other overlaps nothing else

    found = compared(made, tmp_path, 'coco', drop)
    assert found.missing == (2 if which == 'image' else 1)
    assert found.lines()[0] == f'read again: {4 - found.missing} of 4 objects'


@pytest.mark.parametrize('to', WRITERS)
def test_linked_images_of_one_name_are_told_apart_by_their_folders(made, tmp_path, to):
    for images in made.splits.values():
        images[0].file, images[0].name = made.splits['train'][0].file, 'same.png'
    written = write_set(made, to, tmp_path / 'out', link=True)
    again, notes = labelled_set(written)
    assert {split: len(images) for split, images in again.splits.items()} == dict(train=1, val=1)
    assert not any('by their name alone' in note for note in notes)
