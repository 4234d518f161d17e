"""LabelMe's JSON files become COCO content, and what cannot be read is named."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.labelme import FORMAT, read_labelme

MASK = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)


def shape(kind, points, label='cell', group=None, **more):
    """A shape as LabelMe 5 writes it."""
    base = dict(label=label, points=points, group_id=group, description='', flags={}, mask=None)
    return {**base, 'shape_type': kind, **more}


def write(folder, *shapes, name='a.json', **fields):
    content = dict(
        version='5.5.0',
        flags={},
        shapes=list(shapes),
        imagePath='a.jpg',
        imageData=None,
        imageHeight=40,
        imageWidth=80,
    )
    (folder / name).write_text(json.dumps({**content, **fields}))


def png(mask):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format='PNG')
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def folder(tmp_path):
    Image.new('RGB', (80, 40)).save(tmp_path / 'a.jpg')
    return tmp_path


def read(folder):
    return read_labelme(SourceFiles(folder, folder))


def test_every_shape_that_surrounds_something_is_read(folder):
    write(
        folder,
        shape('rectangle', [[30, 20], [10, 5.5]]),
        shape('polygon', [[0, 0], [10, 0], [10, 8]], 'leaf'),
        shape('circle', [[40, 20], [40, 30]]),
        shape('mask', [[2, 3], [4, 4]], mask=png(MASK)),
        shape('rectangle', [[1, 1], [9, 1], [9, 4], [1, 4]]),
        shape('rotation', [[20, 10], [24, 14], [20, 18], [16, 14]]),
    )
    found = read(folder)
    content = found.content()
    assert (found.unreadable, found.notes) == ([], [])
    assert content['images'] == [dict(id=1, file_name='a.jpg', width=80, height=40)]
    assert [c['name'] for c in content['categories']] == ['cell', 'leaf']
    box, polygon, circle, mask, corners, turned = content['annotations']
    assert (box['bbox'], box['area']) == ([10, 5.5, 20, 14.5], 290)
    assert 'segmentation' not in box
    assert box['source'] == 'a.json, shape 1'
    assert polygon['segmentation'] == [[0, 0, 10, 0, 10, 8]]
    assert (polygon['category_id'], polygon['bbox'], polygon['area']) == (2, [0, 0, 10, 8], 40)
    np.testing.assert_allclose(circle['bbox'], [30, 10, 20, 20], atol=0.2)
    assert circle['area'] == pytest.approx(np.pi * 100, rel=0.02)
    assert (mask['bbox'], mask['area']) == ([2, 3, 3, 2], 4)
    assert mask['segmentation']['size'] == [40, 80]
    assert (corners['bbox'], turned['area']) == ([1, 1, 8, 3], 32)


def test_shapes_of_one_group_are_one_object(folder):
    square = [[0, 0], [4, 0], [4, 4], [0, 4]]
    other = [[10, 0], [14, 0], [14, 4], [10, 4]]
    write(
        folder,
        shape('polygon', square, group=3),
        shape('polygon', other, group=3),
        shape('polygon', other, 'leaf', group=3),
        shape('rectangle', [[20, 20], [30, 30]], group=4),
        shape('mask', [[2, 3], [4, 4]], group=4, mask=png(MASK)),
    )
    both, leaf, mixed = read(folder).content()['annotations']
    assert both['segmentation'] == [[0, 0, 4, 0, 4, 4, 0, 4], [10, 0, 14, 0, 14, 4, 10, 4]]
    assert (both['bbox'], both['area']) == ([0, 0, 14, 4], 32)
    assert leaf['area'] == 16
    assert (mixed['bbox'], mixed['area']) == ([2, 3, 28, 27], 104)


def test_flags_and_descriptions_are_kept_as_attributes(folder):
    write(folder, shape('rectangle', [[0, 0], [9, 9]], flags={'torn': True}, description='old'))
    (entry,) = read(folder).content()['annotations']
    assert entry['attributes'] == dict(torn=True, description='old')


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (shape('cuboid', [[0, 0]]), 'is a cuboid, which is not read'),
        (shape('polygon', [[0, 0], [9, 9]]), 'has 2 points; an outline needs 3'),
        (shape('rectangle', [[0, 0], [0, 9]]), 'is a box without area'),
        (shape('rectangle', [['1,5', 0], [3, 9]]), "has x '1,5', not a number; write a decimal"),
        (shape('rectangle', [[0, 0], [9, float('nan')]]), 'has y nan, which is no coordinate'),
        (shape('rectangle', [[0, 0]]), 'is a rectangle of 1 points; expected 2'),
        (shape('rectangle', None), 'has no list of points'),
        (shape('mask', [[0, 0], [9, 9]]), 'has a mask that is no PNG in base64'),
        (shape('mask', [[0, 0], [9, 9]], mask=png(MASK)), 'has a mask of 3 x 2 pixels between'),
        (shape('mask', [[90, 0], [92, 1]], mask=png(MASK)), 'is a mask without a pixel'),
        (shape('rectangle', [[0, 0], [9, 9]], ' '), 'has no label'),
        ('text', 'has no label'),
    ],
)
def test_a_shape_that_is_no_object_is_named(folder, broken, message):
    write(folder, shape('rectangle', [[0, 0], [9, 9]]), broken)
    found = read(folder)
    ((place, text),) = found.unreadable
    assert place == 'a.json, shape 2'
    assert message in text
    assert len(found.content()['annotations']) == 1


def test_lines_and_points_are_counted_by_name(folder):
    points = shape('point', [[0, 0]])
    write(folder, shape('linestrip', [[0, 0], [9, 9]]), points, points)
    found = read(folder).annotations(folder)
    assert found.unreadable == []
    ((_, text),) = found.skipped
    assert text == (
        '3 shape(s) surround nothing and are not learnt: 2 point, 1 linestrip; '
        'first a.json, shape 1'
    )


def test_a_path_of_another_machine_leads_to_the_image_of_its_name(folder):
    (folder / 'sub').mkdir()
    (folder / 'a.jpg').rename(folder / 'sub/a.jpg')
    write(folder, imagePath='C:\\Users\\eva\\a.jpg')
    found = read(folder)
    assert found.content()['images'][0]['file_name'] == 'sub/a.jpg'
    (note,) = found.notes
    assert 'found by their name alone' in note
    assert 'eva' in note


def test_a_path_counts_from_the_json_file(folder):
    (folder / 'json').mkdir()
    write(folder / 'json', imagePath='..\\a.jpg')
    found = read_labelme(SourceFiles(folder / 'json', folder))
    assert (found.content()['images'][0]['file_name'], found.notes) == ('a.jpg', [])


def test_two_images_of_one_name_are_not_told_apart(folder):
    for name in ('x', 'y'):
        (folder / name).mkdir()
        Image.new('RGB', (8, 8)).save(folder / name / 'b.png')
    write(folder, imagePath='/home/eva/b.png', name='c.json')
    ((_, text),) = read(folder).unreadable
    assert 'x/b.png and y/b.png have that name' in text


def test_an_image_renamed_with_its_json_is_found(folder):
    write(folder, imagePath='IMG_0001.JPG')
    found = read(folder)
    assert found.content()['images'][0]['file_name'] == 'a.jpg'
    assert 'IMG_0001.JPG is a.jpg' in found.notes[0]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"shapes": [', 'is not JSON'),
        ('{"images": []}', "it has no list 'shapes'"),
        ('{"shapes": [], "imagePath": "no.png", "imageData": "iVBO"}', 'write it beside'),
        ('{"shapes": [], "imagePath": "no.png"}', 'which is not in'),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, text, message):
    write(folder)
    (folder / 'z.json').write_text(text)
    found = read(folder)
    ((place, said),) = found.unreadable
    assert place == 'z.json'
    assert message in said
    assert len(found.content()['images']) == 1


def test_two_files_about_one_image_are_refused(folder):
    write(folder)
    write(folder, name='b.json')
    ((place, text),) = read(folder).unreadable
    assert (place, 'so is a.json' in text) == ('b.json', True)


def test_images_nobody_annotated_and_their_flags_are_counted(folder):
    write(folder, flags={'blurred': True})
    Image.new('RGB', (8, 8)).save(folder / 'b.jpg')
    found = read(folder)
    (others,) = found.notes
    assert list(found.classes.values()) == [['blurred']]
    assert '1 image(s) have no JSON file and are not used; first b.jpg' in others


def test_a_missing_size_is_that_of_the_image(folder):
    write(folder, imageHeight=None, imageWidth='80')
    (image,) = read(folder).content()['images']
    assert (image['width'], image['height']) == (80, 40)


def test_a_folder_without_json_is_refused(folder):
    with pytest.raises(InputError, match='holds no JSON file of LabelMe'):
        read(folder)


def test_files_in_utf_16_are_told_too(folder):
    write(folder, shape('rectangle', [[0, 0], [9, 9]]))
    for path in folder.glob('*.json'):
        path.write_text(path.read_text(), encoding='utf-16')
    assert FORMAT.holds(folder)
    assert len(read(folder).content()['annotations']) == 1


def test_a_circle_beyond_any_image_is_refused(folder):
    write(folder, shape('circle', [[9, 9], [9e8, 9]]))
    ((_, message),) = read(folder).unreadable
    assert 'with a coordinate that no image has' in message
