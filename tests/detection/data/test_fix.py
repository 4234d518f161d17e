"""What can be fixed is gone from the copy, and nothing else changes."""

import json

import numpy as np
import pytest

pytest.importorskip('mmdet')
from detection_data import (
    PLANTS,
    SQUARE,
    add_image,
    edit,
    inspect,
    kinds,
    leaked,
    other_size_of_the_same_proportions,
    repeated_box,
)

from casvit_mm import InputError
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.fix import fix_dataset
from casvit_mm.detection.data.issues import ISSUE_KINDS

FIXED = [
    name
    for name in PLANTS
    if ISSUE_KINDS[name.partition(':')[0]].fix and not name.startswith('splits share images: val')
]


@pytest.mark.parametrize('name', FIXED)
def test_what_can_be_fixed_is_gone_from_the_copy(folder, name):
    PLANTS[name](folder)
    path, changes = fix_dataset(inspect(folder), folder / 'clean')
    again = inspect_dataset(read_dataset(path), True)
    assert name.partition(':')[0] in {issue.kind for _, issue in changes}
    # What was dropped leaves its file, or its image, behind.
    assert set(kinds(again)) <= {'files not used', 'image without objects'}
    assert again.trainable()


def test_a_corrected_size_scales_objects_of_an_image_that_was_resized(folder):
    other_size_of_the_same_proportions(folder)
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    annotation = json.loads(read(path, 'train'))['annotations'][-1]
    assert annotation['bbox'] == [20, 20, 40, 40]
    assert annotation['segmentation'] == [[2 * v for v in SQUARE]]
    assert annotation['area'] == 1600


def test_a_box_is_not_clipped_at_an_edge_that_is_wrong(folder):
    add_image(folder, 'wide.png', size=(80, 64))
    values = dict(bbox=[50, 10, 20, 20], segmentation=[[50, 10, 70, 10, 70, 30, 50, 30]])
    edit(folder, lambda c: c['annotations'][-1].update(values))
    edit(folder, lambda c: c['images'][-1].update(width=60))
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    content = json.loads(read(path, 'train'))
    assert content['images'][-1]['width'] == 80
    assert content['annotations'][-1]['bbox'] == values['bbox']
    assert content['annotations'][-1]['segmentation'] == values['segmentation']


def test_a_polygon_is_clipped_at_the_edge_exactly(folder):
    triangle = [-20, 10, 20, 10, 20, 50]  # leaves (0, 10) (20, 10) (20, 50) (0, 30)
    values = dict(bbox=[-20, 10, 40, 40], area=800, segmentation=[triangle])
    edit(folder, lambda c: c['annotations'][1].update(values))
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    annotation = json.loads(read(path, 'train'))['annotations'][1]
    (polygon,) = annotation['segmentation']
    corners = {tuple(point) for point in np.reshape(polygon, (-1, 2)).tolist()}
    assert corners == {(0, 10), (20, 10), (20, 50), (0, 30)}
    assert annotation['bbox'] == [0, 10, 20, 40]
    assert annotation['area'] == 600


def read(description, split):
    return (description.parent / f'{split}.json').read_text()


def test_only_train_loses_an_image_that_is_in_two_splits(folder):
    leaked(folder)
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    names = {
        split: [image['file_name'] for image in json.loads(read(path, split))['images']]
        for split in ('train', 'val')
    }
    assert 'leaked.png' not in names['train']
    assert len(names['train']) == 24
    assert len(names['val']) == 6


def test_fixing_never_writes_over_a_file(folder):
    (folder / 'clean').mkdir()
    (folder / 'clean/val.json').write_text('mine')
    with pytest.raises(InputError, match=r'val\.json exist there; name another folder'):
        fix_dataset(inspect(folder), folder / 'clean')
    assert [p.name for p in (folder / 'clean').iterdir()] == ['val.json']
    assert (folder / 'clean/val.json').read_text() == 'mine'


def test_fixing_refuses_to_leave_a_split_empty(folder):
    text = (folder / 'dataset.yaml').read_text()
    line = '{annotations: val.json, images: val}'
    text = text.replace('{annotations: train.json, images: train}', line)
    (folder / 'dataset.yaml').write_text(text)
    with pytest.raises(InputError, match='would leave train with 0 images and 0 annotations'):
        fix_dataset(inspect(folder), folder / 'clean')
    assert not (folder / 'clean').exists()


def test_fixing_leaves_the_original_untouched(folder):
    repeated_box(folder)
    before = (folder / 'train.json').read_bytes()
    fix_dataset(inspect(folder), folder / 'clean')
    assert (folder / 'train.json').read_bytes() == before


def test_folds_stay_one_set(folder):
    add_image(folder, 'cut.png').write_bytes(b'')
    text = 'data: {annotations: train.json, images: train}\nsplit: {folds: 3, fold: 1}\n'
    (folder / 'dataset.yaml').write_text(text)
    path, changes = fix_dataset(inspect(folder), folder / 'clean')
    assert [issue.kind for _, issue in changes] == ['unreadable image']
    copy = inspect_dataset(read_dataset(path), True)
    assert copy.data.split == read_dataset(folder / 'dataset.yaml').split
    content = json.loads((folder / 'clean/data.json').read_text())
    assert sum(len(objects.images) for objects in copy.objects.values()) == 24
    assert len(content['images']) == len({image['id'] for image in content['images']}) == 24
