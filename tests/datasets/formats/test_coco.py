"""Wrong COCO files are refused, with the place in the file."""

import json
from pathlib import Path

import pytest

from casvit_mm import InputError
from casvit_mm.datasets.formats.coco import check_coco
from casvit_mm.datasets.shapes import CLASSES, generate_shapes


def edit(path: Path, change) -> Path:
    """Rewrite a copy of a JSON file beside it."""
    content = json.loads(path.read_text())
    change(content)
    copy = path.with_name(f'edited_{path.name}')
    copy.write_text(json.dumps(content))
    return copy


@pytest.fixture
def folder(tmp_path):
    return generate_shapes(tmp_path, sizes=(4, 3, 2), side=64, seed=3).parent


def remove(section, field):
    return lambda content: content[section][1].pop(field)


def put(section, field, value):
    return lambda content: content[section][1].update({field: value})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('images'), "lacks the list 'images'"),
        (remove('images', 'file_name'), r"images\[1\] lacks 'file_name'"),
        (remove('images', 'width'), r"images\[1\] lacks 'width'"),
        (remove('annotations', 'bbox'), r"annotations\[1\] lacks 'bbox'"),
        (remove('annotations', 'area'), r"annotations\[1\] lacks 'area'"),
        (remove('categories', 'name'), r"categories\[1\] lacks 'name'"),
        (put('annotations', 'category_id', 9), r"annotation 2 has category_id 9.*1: 'circle'"),
        (put('annotations', 'image_id', 99), 'annotation 2 has image_id 99'),
        (put('annotations', 'bbox', [1, 2, 3]), r'bbox \[1, 2, 3\]; expected'),
        (put('annotations', 'segmentation', []), 'no polygon .*retinanet'),
        (put('annotations', 'id', 1), r'annotations\.id occur more than'),
        (put('categories', 'name', 'circle'), r'categories\.name occur more than'),
        (put('images', 'width', 0), 'width 0'),
        (lambda c: c['annotations'].clear(), 'no usable annotation: 0 listed'),
        (lambda c: [a.update(iscrowd=1) for a in c['annotations']], 'no usable annotation'),
        (put('images', 'file_name', 'gone.png'), r'1 of 4 images .* gone\.png\. Correct'),
        (
            put('images', 'file_name', 'train\\0002.PNG'),
            r'0002.png is there, and differs in backslashes for / and the folder and case\.',
        ),
    ],
)
def test_a_wrong_annotation_file_is_refused_by_place(folder, change, message):
    path = edit(folder / 'train.json', change)
    with pytest.raises(InputError, match=message) as caught:
        check_coco(path, folder / 'train', 'train of d.yaml', with_masks=True)
    assert str(path) in str(caught.value)
    assert 'train of d.yaml' in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'does not exist'), ('{"images": [', 'not JSON'), ('[]', 'holds a list')],
)
def test_an_unreadable_annotation_file_is_refused(folder, content, message):
    path = folder / 'broken.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        check_coco(path, folder / 'train', 'train of d.yaml')


def test_boxes_alone_need_no_segmentation(folder):
    path = edit(folder / 'train.json', lambda c: [a.pop('segmentation') for a in c['annotations']])
    assert check_coco(path, folder / 'train', 'train').classes == CLASSES


def test_the_first_issue_is_raised_and_the_rest_are_counted(folder):
    def change(content):
        for annotation in content['annotations'][2:5]:
            annotation['category_id'] = 9

    path = edit(folder / 'train.json', change)
    message = r'(?s)annotation 3 has category_id 9.*2 more such issues; casvit-mm check-data'
    with pytest.raises(InputError, match=message):
        check_coco(path, folder / 'train', 'train')


@pytest.mark.parametrize('without', [dict(), dict(annotations=[])], ids=['no list', 'empty list'])
def test_a_file_without_labels_is_taken_only_where_none_are_needed(folder, without):
    def change(content):
        del content['annotations']
        content.update(without)

    path = edit(folder / 'train.json', change)
    summary = check_coco(path, folder / 'train', 'test', without_labels=True)
    assert (summary.num_images, summary.num_objects) == (4, 0)
    with pytest.raises(InputError, match=r'annotation'):
        check_coco(path, folder / 'train', 'test')
