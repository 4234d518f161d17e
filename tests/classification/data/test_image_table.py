"""Paths and labels of a split, packed in memory and written one a line."""

import json
import pickle

import pytest

from casvit_mm.classification.data.image_table import ImageTable, read_table, write_table
from casvit_mm.io import write_json

# Names with blanks, with a line that looks like one of the file, and with a byte that is no UTF-8.
IMAGES = [('/data/a b.jpg', 2), ('/data/\n["x", 1],\n.png', 0), ('/data/\udcff é.png', 1)]


def test_a_file_gives_back_what_was_written(tmp_path):
    write_table(tmp_path / 'train.json', ('a', 'b', 'c'), IMAGES)
    assert list(read_table(tmp_path / 'train.json')) == IMAGES
    content = json.loads((tmp_path / 'train.json').read_text())
    assert content == dict(classes=['a', 'b', 'c'], images=[list(image) for image in IMAGES])


def test_no_image_is_a_table_too(tmp_path):
    write_table(tmp_path / 'val.json', ('a',), [])
    assert json.loads((tmp_path / 'val.json').read_text())['images'] == []
    assert len(read_table(tmp_path / 'val.json')) == 0


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    write_json(tmp_path / 'train.json', dict(classes=['a'], images=IMAGES))
    assert list(read_table(tmp_path / 'train.json')) == IMAGES


def test_parts_are_those_of_a_list():
    table = ImageTable(IMAGES)
    assert (table[0], table[-1], table[-3]) == (IMAGES[0], IMAGES[-1], IMAGES[-3])
    assert (table[1:], table[:-1], table[::2]) == (IMAGES[1:], IMAGES[:-1], IMAGES[::2])
    assert table.labels.tolist() == [2, 0, 1]
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            table[beyond]


def test_an_image_takes_little_more_memory_than_its_path():
    table = ImageTable((f'/data/train/n01440764/n01440764_{i}.JPEG', i % 7) for i in range(10_000))
    assert len(pickle.dumps(table)) < 10_000 * 64  # the path has up to 41 bytes
