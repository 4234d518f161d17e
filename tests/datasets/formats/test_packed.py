"""Polygons kept as text: the same content in a quarter of the memory, and read once."""

import json
import tracemalloc

import pytest

from casvit_mm.datasets import scan_memory
from casvit_mm.datasets.formats import packed
from casvit_mm.datasets.formats.coco_file import read_annotations
from casvit_mm.datasets.formats.coco_values import is_polygon
from casvit_mm.datasets.formats.packed import (
    encode_object,
    pack_outlines,
    plain_object,
    plain_outline,
    read_packed,
)

SOUND = [
    [[1, 2.50, 3, 4, 5.125, 6]],
    [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1e2, 2, 3, 4, 5, 600.0]],
]
OTHERS = [
    {'size': [2, 2], 'counts': [1, 3]},
    {'size': [2, 2], 'counts': '13'},
    [[1, 2, 3, 4, 5]],
    [[1, 2, 3, 4]],
    [[True, 2, 3, 4, 5, 6]],
    [[None, 2, 3, 4, 5, 6]],
    [[1, 2, 3, 4, 5, float('nan')]],
    [[1, 2, 3, 4, 5, 1e300]],
    [[1, 2, 3, 4, 5, 10**400]],
    [[0, 0, 9e8, 0, 9e8, 9e8]],
    [[]],
    [],
    [1, 2, 3, 4, 5, 6],
    'polygon',
    None,
]


def content_of(outlines):
    annotations = [
        dict(id=i, image_id=1, category_id=1, bbox=[1, 2, 3.5, 4], area=9, segmentation=outline)
        for i, outline in enumerate(outlines)
    ]
    annotations.append(dict(id=99, image_id=1, category_id=1, bbox=[1, 2, 3, 4], area=12))
    images = [dict(id=1, file_name='"segmentation": [[1]].png', width=9, height=9)]
    return dict(info={'é': [[1]]}, annotations=annotations, images=images, categories=[])


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(scan_memory, '_SETTLED', -(2**62))  # the files of a test are new
    monkeypatch.setattr(packed, '_WINDOW', 150)
    monkeypatch.setattr(packed, '_BATCH', 3)


@pytest.mark.parametrize('form', [{}, dict(indent=2), dict(separators=(',', ':'))])
@pytest.mark.parametrize('times', [1, 40])
def test_content_is_that_of_the_file_with_sound_polygons_as_text(tmp_path, form, times):
    outlines = (SOUND + OTHERS) * times
    text = json.dumps(content_of(outlines), **form)
    path = tmp_path / 'train.json'
    path.write_text(text)
    for _ in range(2):  # the second time nothing is checked again
        content = read_packed(path)
        kept = [a.get('segmentation') for a in content['annotations']]
        assert [isinstance(k, bytes) for k in kept[: len(SOUND)]] == [True] * len(SOUND)
        assert sum(isinstance(k, bytes) for k in kept) == times * len(SOUND)
        content['annotations'] = list(map(plain_object, content['annotations']))
        assert repr(content) == repr(json.loads(text))  # whole numbers stay whole


@pytest.mark.parametrize(
    'text',
    [
        '{"annotations": [{"segmentation": [[1,2,3,4,,6]]}]}',
        '{"annotations": [{"segmentation": [[1,2,3,4,5,06]]}]}',
        '{"annotations": [{"segmentation": [[1,2,3,4,5,6]}]}',
        '{"annotations": [{"segmentation": [[1,2,3,4,5,6]],}]}',
        '{"annotations": [{"attributes": {"segmentation": [[1,2,3,4,5,6]]}}]}',
        '{"annotations": [{"segmentation": [[1,2,3,4,5,6]], "segmentation": [[1,2,3,4,5,6]]}]}',
        '{"images": [{"segmentation": [[1,2,3,4,5,6]]}]}',
        '[{"segmentation": [[1,2,3,4,5,6]]}]',
        '',
    ],
)
def test_what_is_written_otherwise_is_left_to_the_plain_reader(tmp_path, text):
    path = tmp_path / 'train.json'
    path.write_text(text)
    assert read_packed(path) is None


def test_an_escaped_key_is_text(tmp_path):
    path = tmp_path / 'train.json'
    text = '{"annotations": [{"x\\"segmentation": [[1,2,3,4,5,6]]}]}'
    path.write_text(text)
    assert read_packed(path) == json.loads(text)


def test_numbers_of_outlines_are_read_once_until_the_file_changes(tmp_path, monkeypatch):
    read = []
    reader = packed.read_outlines
    monkeypatch.setattr(packed, 'read_outlines', lambda texts: read.append(0) or reader(texts))
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content_of(SOUND)))
    first = read_annotations(path, 'train')
    assert read
    read.clear()
    assert read_annotations(path, 'train') == first
    assert not read
    path.write_text(json.dumps(content_of([*SOUND, [[1, 2, 3, 4, 5]]])))
    assert read_annotations(path, 'train')['annotations'][2]['segmentation'] == [[1, 2, 3, 4, 5]]
    assert read


def test_outlines_take_a_third_of_the_memory(tmp_path):
    outline = [[float(i) + 0.25 for i in range(40)]]
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content_of([outline] * 1000)))
    held = []
    for read in (lambda: read_annotations(path, 'train'), lambda: json.loads(path.read_bytes())):
        tracemalloc.start()
        content = read()
        held.append(tracemalloc.get_traced_memory()[0] / 1000)
        tracemalloc.stop()
        del content
    assert held[0] < 1100 < 2 * held[0] < held[1]  # bytes for each object


@pytest.mark.parametrize('outline', SOUND + OTHERS)
def test_packing_and_writing_keep_everything(outline):
    kept = pack_outlines(outline)
    sound = isinstance(outline, list) and bool(outline) and all(map(is_polygon, outline))
    assert isinstance(kept, bytes) == sound
    assert repr(plain_outline(kept)) == repr(outline)
    written = json.loads(encode_object(dict(id=1, segmentation=kept)))
    assert repr(written) == repr(json.loads(json.dumps(dict(id=1, segmentation=outline))))
    assert json.loads(encode_object(dict(segmentation=b'[[1,2,3,4,5,6]]')))
