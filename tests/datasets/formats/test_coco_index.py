"""The COCO file that training reads image by image: what it holds, and when it is not taken."""

import copy
import json
import pickle

import pytest

from casvit_mm import InputError
from casvit_mm.datasets.formats.coco_columns import read_columns
from casvit_mm.datasets.formats.coco_index import index_of, open_indexed, write_indexed
from casvit_mm.datasets.formats.packed import pack_outlines

POLYGON = [[1, 2.5, 3, 4, 5, 6]]


def annotation(number, image, **fields):
    plain = dict(id=number, image_id=image, category_id=7, bbox=[1, 2.5, 3, 4], area=5, iscrowd=0)
    return {**plain, **fields}


CONTENT = dict(
    info={'year': 2020},
    images=[dict(id=i, file_name=f'é{i}.png', width=20, height=10 + i) for i in (3, 1, 2)],
    annotations=[
        annotation(5, 1, segmentation=pack_outlines(POLYGON)),
        annotation(6, 3, segmentation=dict(size=[13, 20], counts=[260]), iscrowd=1),
        annotation(4, 1, segmentation=POLYGON, attributes=dict(segmentation=[1])),
        annotation(8, 3),
    ],
    categories=[dict(id=7, name='hérisson')],
)
BY_IMAGE = {3: [6, 8], 1: [5, 4], 2: []}


@pytest.fixture(params=[False, True], ids=['each', 'plain'])
def path(tmp_path, request):
    path = tmp_path / 'train.json'
    assert read_columns(CONTENT) is not None
    write_indexed(path, CONTENT, plain=request.param)
    return path


def test_the_file_is_the_content_by_image(path):
    written = json.loads(path.read_text(encoding='utf-8'))
    expected = copy.deepcopy(CONTENT)
    expected['annotations'][0]['segmentation'] = POLYGON
    order = [number for numbers in BY_IMAGE.values() for number in numbers]
    expected['annotations'].sort(key=lambda one: order.index(one['id']))
    assert written == expected
    indexed = open_indexed(path)
    assert len(indexed) == 3
    for row, (image, numbers) in enumerate(BY_IMAGE.items()):
        record = indexed[row]
        assert record.image == CONTENT['images'][row]
        assert record.image['id'] == image
        objects = [one for one in written['annotations'] if one['image_id'] == image]
        assert record.annotations == objects
        assert [one['id'] for one in record.annotations] == numbers


def test_processes_that_get_a_copy_read_the_same(path):
    indexed = open_indexed(path)
    other = pickle.loads(pickle.dumps(indexed))
    assert [other[i] for i in range(3)] == [indexed[i] for i in range(3)]
    assert copy.deepcopy(indexed) is indexed


def test_an_index_of_another_file_is_not_taken(path):
    pickled = pickle.dumps(open_indexed(path))
    path.write_text(path.read_text())  # the same size, another date
    assert open_indexed(path) is None
    with pytest.raises(InputError, match='has changed since its index was written'):
        pickle.loads(pickled)
    write_indexed(path, CONTENT)
    index_of(path).write_bytes(index_of(path).read_bytes()[:300])
    assert open_indexed(path) is None
    index_of(path).unlink()
    assert open_indexed(path) is None
    path.unlink()
    assert open_indexed(path) is None


def test_a_file_without_annotations_has_images(tmp_path):
    content = {key: value for key, value in CONTENT.items() if key != 'annotations'}
    write_indexed(tmp_path / 'test.json', content)
    assert json.loads((tmp_path / 'test.json').read_text(encoding='utf-8')) == content
    assert [
        record.annotations
        for record in map(open_indexed(tmp_path / 'test.json').__getitem__, range(3))
    ] == [[], [], []]
