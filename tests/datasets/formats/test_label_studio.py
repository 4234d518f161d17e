"""Label Studio's export becomes COCO content, and what cannot be read is named."""

import json

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.brush import encode_brush
from casvit_mm.datasets.formats.label_studio import read_label_studio


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (200, 100)).save(tmp_path / 'images/a.jpg')
    return tmp_path


def region(kind, label='car', identity='x1', **value):
    """A region as Label Studio 1.13 writes it, on an image of 200 x 100."""
    result = dict(original_width=200, original_height=100, image_rotation=0, id=identity)
    result.update(from_name='label', to_name='image', type=kind, origin='manual')
    labels = {} if label is None else {kind: [label]}
    return {**result, 'value': {**value, **labels}}


def task(*results, image='/data/local-files/?d=photos/a.jpg', **fields):
    annotation = dict(id=1, result=list(results), was_cancelled=False, ground_truth=False)
    return dict(id=7, data=dict(image=image), annotations=[annotation], predictions=[], **fields)


def read(folder, *tasks):
    (folder / 'export.json').write_text(json.dumps(tasks))
    return read_label_studio(SourceFiles(folder / 'export.json', folder / 'images'))


BOX = dict(x=10, y=20, width=30, height=40, rotation=0)


def test_regions_are_read_in_pixels(folder):
    mask = np.zeros((100, 200), dtype=bool)
    mask[10:20, 30:50] = True
    mask[12:14, 33:36] = False
    found = read(
        folder,
        task(
            region('rectanglelabels', **BOX),
            region('polygonlabels', 'dog', points=[[0, 0], [5, 0], [5, 10]], closed=True),
            region('ellipselabels', x=50, y=50, radiusX=5, radiusY=20, rotation=0),
            region('brushlabels', format='rle', rle=encode_brush(mask)),
            region('rectanglelabels', **{**BOX, 'rotation': 90}),
        ),
    )
    content = found.content()
    assert found.unreadable == []
    assert content['images'] == [dict(id=1, file_name='a.jpg', width=200, height=100)]
    assert [c['name'] for c in content['categories']] == ['car', 'dog']
    box, polygon, ellipse, brush, turned = content['annotations']
    assert (box['bbox'], box['source']) == ([20, 20, 60, 40], 'export.json, task 7, region x1')
    assert polygon['segmentation'] == [[0, 0, 10, 0, 10, 10]]
    np.testing.assert_allclose(ellipse['bbox'], [90, 30, 20, 40], atol=0.3)
    assert (brush['bbox'], brush['area']) == ([30, 10, 20, 10], 194)
    # A quarter turn clockwise about the upper left corner (20, 20).
    np.testing.assert_allclose(turned['bbox'], [-20, 20, 40, 60], atol=1e-9)


def test_labels_beside_shapes_are_read_once(folder):
    plain = region('rectangle', None, **BOX)
    found = read(folder, task(plain, region('labels', **BOX)))
    assert found.unreadable == []
    (entry,) = found.content()['annotations']
    assert entry['bbox'] == [20, 20, 60, 40]


@pytest.mark.parametrize(
    'image',
    [
        '/data/local-files/?d=some/where/a.jpg',
        '/data/local-files/?d=C%3A%5Cphotos%5Ca.jpg',
        '/data/upload/3/1a2b3c4d-a.jpg',
        's3://bucket/photos/a.jpg',
        'https://example.org/x/a.jpg?width=3',
        'a.jpg',
    ],
)
def test_an_image_is_found_by_what_the_task_says(folder, image):
    found = read(folder, task(region('rectanglelabels', **BOX), image=image))
    assert found.unreadable == []
    assert found.content()['images'][0]['file_name'] == 'a.jpg'


def test_the_name_with_the_prefix_of_an_upload_goes_first(folder):
    Image.new('RGB', (200, 100)).save(folder / 'images/1a2b3c4d-a.jpg')
    found = read(folder, task(image='/data/upload/3/1a2b3c4d-a.jpg'))
    assert found.content()['images'][0]['file_name'] == '1a2b3c4d-a.jpg'


def test_another_key_may_hold_the_image(folder):
    one = task(region('rectanglelabels', **BOX))
    one['data'] = dict(photo='/data/upload/1/a.jpg', caption='a car')
    assert read(folder, one).content()['images'][0]['file_name'] == 'a.jpg'


def annotated(label, **fields):
    return dict(result=[region('rectanglelabels', label, **BOX)], **fields)


def test_of_several_annotations_the_truth_or_the_latest_is_taken(folder):
    Image.new('RGB', (200, 100)).save(folder / 'images/b.jpg')
    old, new = '2024-01-01T00:00:00Z', '2024-02-01T00:00:00Z'
    first, second = task(), task(image='b.jpg')
    first['annotations'] = [annotated('new', updated_at=new), annotated('old', updated_at=old)]
    second['annotations'] = [
        annotated('truth', updated_at=old, ground_truth=True),
        annotated('later', updated_at=new),
        annotated('skipped', updated_at=new, was_cancelled=True),
    ]
    found = read(folder, first, second)
    assert [c['name'] for c in found.content()['categories']] == ['new', 'truth']
    assert any(note.startswith('not used: 2 further annotations') for note in found.notes)


def test_what_is_not_learnt_is_counted(folder):
    choice = dict(type='choices', id='c', value=dict(choices=['night']))
    skipped, unseen = task(), task()
    skipped['annotations'][0]['was_cancelled'] = True
    unseen['annotations'] = []
    found = read(folder, {**task(choice), 'predictions': [annotated('car')]}, skipped, unseen)
    assert found.content()['annotations'] == []
    assert len(found.content()['images']) == 1
    said = '\n'.join(found.notes)
    for what in (
        '1 predictions, which are no truth',
        '1 tasks that were skipped',
        '1 tasks without an annotation',
    ):
        assert f'not used: {what}' in said


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (region('videorectangle', None), 'is of type videorectangle'),
        (region('rectangle', None, **BOX), 'has no label'),
        (region('rectanglelabels', **{**BOX, 'x': '1,5'}), "has x '1,5', not a number; write"),
        (region('rectanglelabels', **{**BOX, 'width': 0}), 'is a box without area'),
        (region('polygonlabels', points=[[0, 0], [5, 5]]), 'has 2 points'),
        (region('polygonlabels', points=[1, 2]), 'has no list of points'),
        (region('brushlabels', rle=[1, 2]), 'cut short'),
        ({**region('rectanglelabels', **BOX), 'image_rotation': 90}, 'on a turned image'),
        ({**region('rectanglelabels', **BOX), 'value': None}, 'has no value'),
    ],
)
def test_a_region_that_is_no_object_is_named(folder, broken, message):
    found = read(folder, task(region('rectanglelabels', **BOX, identity='x0'), broken))
    ((place, text),) = found.unreadable
    assert place == 'export.json, task 7, region x1'
    assert message in text
    assert len(found.content()['annotations']) == 1


def test_key_points_are_counted(folder):
    found = read(folder, task(region('keypointlabels', x=1, y=2, width=0.3)))
    text = found.annotations(folder).skipped[-1][1]
    assert '1 shape(s) surround nothing and are not learnt: 1 keypoint' in text


def test_several_labels_of_a_region_are_refused(folder):
    two = region('rectanglelabels', **BOX)
    two['value']['rectanglelabels'] = ['car', 'dog']
    ((_, text),) = read(folder, task(two)).unreadable
    assert 'has 2 labels; expected one' in text


@pytest.mark.parametrize('text', ['[{"data": {', '[]', '[{"image": "a.jpg", "label": []}]', '{}'])
def test_other_files_are_refused(folder, text):
    (folder / 'export.json').write_text(text)
    with pytest.raises(
        InputError, match=r'is not JSON|is no export of Label Studio in the form JSON'
    ):
        read_label_studio(SourceFiles(folder / 'export.json', folder / 'images'))


@pytest.mark.parametrize('result', ['text', [['text']], None])
def test_results_that_are_no_regions_are_refused(folder, result):
    broken = task()
    broken['annotations'] = [dict(result=result)]
    ((_, message),) = read(folder, broken).unreadable
    assert 'has a result that is no list of regions' in message
