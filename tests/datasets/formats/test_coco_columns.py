"""Annotations as arrays: only where all are well-formed, and then as the slow way tells them."""

import copy

import numpy as np
import pytest

from casvit_mm.datasets.formats.coco import check_content, find_issues
from casvit_mm.datasets.formats.coco_columns import read_columns
from casvit_mm.datasets.formats.usable import find_obstacle
from casvit_mm.errors import InputError


def content():
    images = [dict(id=9 - i, file_name=f'{i}.png', width=20 + i, height=10) for i in range(4)]
    boxes = [
        [1, 2, 3.5, 4],
        [-5, 2, 5.5, 4],
        [-5, 2, 5, 4],
        [30, 2, 5, 4],
        [1, 2, 0.5, 4],
        [1, 9.5, 1, 8],
        [1, 2, -3, 4],
        [0, 0, 20, 10],
    ]
    annotations = [
        dict(id=i, image_id=9 - i % 4, category_id=3 + i % 2, bbox=box, area=i, iscrowd=int(i == 7))
        for i, box in enumerate([*boxes, boxes[0]])
    ]
    del annotations[0]['iscrowd']
    categories = [dict(id=4, name='a'), dict(id=3, name='b')]
    return dict(images=images, annotations=annotations, categories=categories)


def test_usable_objects_are_those_without_an_obstacle():
    found = content()
    columns = read_columns(found)
    sizes = {e['id']: (e['width'], e['height']) for e in found['images']}
    expected = [find_obstacle(a, sizes) is None for a in found['annotations']]
    assert columns.usable().tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert columns.sizes[columns.image].tolist() == [
        list(sizes[a['image_id']]) for a in found['annotations']
    ]


def test_the_check_says_the_same_without_columns(tmp_path, monkeypatch):
    found = content()
    for image in found['images']:
        (tmp_path / image['file_name']).touch()
    found['annotations'][4]['id'] = 3
    spoilt = [found, {**found, 'annotations': [dict(a, area=0) for a in found['annotations']]}]
    fast = [find_issues(one, tmp_path, True) for one in spoilt]
    kinds = {issue.kind for issues in fast for issue in issues}
    assert kinds == {'duplicate annotation id', 'object without mask', 'no usable object'}
    summary = check_content(content(), tmp_path, 'train')
    monkeypatch.setattr('casvit_mm.datasets.formats.coco.read_columns', lambda content: None)
    assert [find_issues(one, tmp_path, True) for one in spoilt] == fast
    assert check_content(content(), tmp_path, 'train') == summary


@pytest.mark.parametrize(
    ('section', 'field', 'value'),
    [
        *(('annotations', 'id', value) for value in (True, 10**400, 2**70, '1', None)),
        *(('annotations', 'bbox', value) for value in ([1, 2, 3], [1, 2, 3, 10**400], None)),
        *(('annotations', 'bbox', [1, 2, 3, value]) for value in (True, float('nan'), '4')),
        *(('annotations', 'area', value) for value in (float('inf'), '1', True, None)),
        *(('annotations', 'iscrowd', value) for value in (2, True, None)),
        *(('annotations', 'image_id', value) for value in (1, 9.0, None, [])),
        *(('annotations', 'category_id', value) for value in (1, 3.0, None, [])),
        *(('annotations', field, 1) for field in ('ignore', 'ignored')),
        *(('images', 'id', value) for value in (8, 2**70, None)),
        *(('images', 'file_name', value) for value in (' ', None)),
        *(('images', 'width', value) for value in (0, 2**40, '3', 1.0)),
        *(('categories', 'id', value) for value in ('4', None)),
    ],
)
def test_nothing_malformed_becomes_a_column(section, field, value):
    found = content()
    found[section][0][field] = value
    assert read_columns(found) is None


def test_what_is_no_content_has_no_columns():
    found = content()
    for section in found:
        for entries in (None, [], {}, [5], [None]):
            assert read_columns({**copy.deepcopy(found), section: entries}) is None
    assert np.isfinite(read_columns(found).area).all()
    with pytest.raises(InputError):
        check_content({**found, 'annotations': [5]}, '.', 'train')
