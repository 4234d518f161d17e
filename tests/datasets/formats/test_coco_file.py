"""A COCO file means the same in whatever spelling an exporter writes it."""

import codecs
import json

import pytest

from casvit_mm import InputError
from casvit_mm.datasets.formats.coco_file import read_annotations, read_plain_annotations, settle

CONTENT = dict(
    images=[dict(id=1, file_name='a.png', width=64, height=48)],
    annotations=[dict(id=1, image_id=1, category_id=2, bbox=[1, 2, 3, 4], area=12, iscrowd=0)],
    categories=[dict(id=2, name='hérisson')],
)


def changed(section, **fields):
    content = json.loads(json.dumps(CONTENT))
    content[section][0].update(fields)
    return content


@pytest.mark.parametrize(
    'data',
    [
        codecs.BOM_UTF8 + json.dumps(CONTENT, ensure_ascii=False).encode(),
        json.dumps(CONTENT, ensure_ascii=False).encode('utf-16'),
        codecs.BOM_UTF16_BE + json.dumps(CONTENT, ensure_ascii=False).encode('utf-16-be'),
    ],
)
def test_byte_order_marks_are_read(tmp_path, data):
    path = tmp_path / 'train.json'
    path.write_bytes(data)
    assert read_annotations(path, 'train') == CONTENT
    with pytest.raises(InputError, match=r'a byte order mark \(1 times\), which mmdet .* --data'):
        read_plain_annotations(path, 'train')


@pytest.mark.parametrize(
    ('section', 'fields'),
    [
        ('images', dict(id=1.0, width='64', height=48.0)),
        ('images', dict(id='001')),
        ('annotations', dict(id='1', image_id=1.0, category_id='2.0')),
        ('categories', dict(id=2.0)),
        *(('annotations', dict(iscrowd=no)) for no in ('0', ' false ', False, 0.0, None, 'No')),
    ],
)
def test_other_spellings_are_settled(section, fields):
    content = changed(section, **fields)
    assert settle(content).total() == len(fields)
    assert content == CONTENT
    assert {type(content[section][0][field]) for field in fields} == {int}


@pytest.mark.parametrize('value', ['1', 'True', True, 1.0])
def test_crowds_and_ignored_objects_are_crowds(value):
    content = changed('annotations', iscrowd=value)
    settle(content)
    assert content['annotations'][0]['iscrowd'] == 1
    content = changed('annotations', ignore=value)
    settle(content)
    annotation = content['annotations'][0]
    assert annotation['iscrowd'] == annotation['ignored'] == 1
    assert 'ignore' not in annotation  # mmdet would drop the object, pycocotools count it


@pytest.mark.parametrize(
    ('section', 'fields'),
    [
        ('images', dict(id='a1', width=6.5)),
        ('images', dict(id='9' * 5000, height=float('inf'))),
        ('annotations', dict(iscrowd=2, ignore='perhaps')),
        ('annotations', dict(image_id=True, iscrowd=[])),
        ('annotations', dict(ignore=0)),
    ],
)
def test_what_has_no_such_meaning_stays(section, fields):
    content = changed(section, **fields)
    assert not settle(content)
    assert content == changed(section, **fields)


def test_a_file_that_mmdet_reads_itself_must_be_plain(tmp_path):
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(CONTENT))
    assert read_plain_annotations(path, 'train') == CONTENT
    path.write_text(json.dumps(changed('annotations', ignore=1)))
    with pytest.raises(InputError, match=r'annotations with ignore: 1 \(1 times\), which mmdet'):
        read_plain_annotations(path, 'train')
