"""Values and colours under ``classes`` become what training reads."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg')
from segmentation_data import SOURCES, first_label, model_sees, prepare, refusal

from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.recoding import describe_coding

COLOURS = {0: (240, 210, 130), 1: (0, 0, 0), 2: (10, 20, 30), 3: (0, 0, 255), 255: (9, 9, 9)}
BY_COLOUR = (
    "classes: {ground: '#f0d282', circle: '#000000', square: [10, 20, 30], triangle: blue}\n"
)


def redraw(folder, draw):
    """Replace every mask by what ``draw`` makes of its values; return those of train before."""
    paths = sorted(folder.glob('*_labels/*.png'))
    old = {path: np.asarray(Image.open(path)) for path in paths}
    for path, values in old.items():
        Image.fromarray(draw(values)).save(path)
    return [values for path, values in old.items() if path.parent.name == 'train_labels']


def in_colours(values):
    rgb = np.zeros((*values.shape, 3), np.uint8)
    for value, colour in COLOURS.items():
        rgb[values == value] = colour
    return rgb


def test_values_of_classes_are_read_directly(folder):
    old = redraw(folder, lambda v: np.choose(np.minimum(v, 4), [0, 255, 1, 2, 7]).astype(np.uint8))
    text = SOURCES + 'classes: {ground: 0, cell: 255, other: [1, 2]}\nignore: 7\n'
    for values, seen in zip(old, model_sees(folder, text), strict=True):
        expected = np.choose(np.minimum(values, 4), [0, 1, 2, 2, 255])
        np.testing.assert_array_equal(seen, expected)


def test_values_of_16_bits_and_of_equal_channels_are_read_directly(folder):
    old = redraw(folder, lambda v: v.astype(np.uint16) * 100)
    grey = (old[0] * 40)[..., None]  # 255 becomes 216
    Image.fromarray(np.repeat(grey, 3, axis=2)).save(first_label(folder))
    values = '{ground: 0, circle: [100, 40], square: [200, 80], triangle: [300, 120]}'
    text = SOURCES + f'classes: {values}\nignore: [25500, 216]\n'
    np.testing.assert_array_equal(model_sees(folder, text), old)


def test_colours_of_rgb_masks_are_the_labels(folder):
    old = redraw(folder, in_colours)
    text = SOURCES + BY_COLOUR + "ignore: '#090909'\n"
    np.testing.assert_array_equal(model_sees(folder, text), old)
    prepared = prepare(folder, text)['train']
    data = read_dataset(folder / 'mine.yaml')
    assert describe_coding(data, prepared.recoded, 4).startswith(
        'the colours that classes gives, in 4'
    )


def test_colours_draw_masks_of_indices(folder):
    prepared = prepare(folder, SOURCES + BY_COLOUR)['train']
    assert prepared.recoded == 0
    assert Path(prepared.pairs[0].label) == first_label(folder)
    data = read_dataset(folder / 'mine.yaml')
    assert describe_coding(data, 0, 4).endswith('colours are to draw in')


def test_a_colour_that_is_no_class_is_refused_with_its_pixels(folder):
    redraw(folder, in_colours)
    count = int((np.asarray(Image.open(first_label(folder))) == 9).all(axis=2).sum())
    message = refusal(folder, SOURCES + BY_COLOUR)
    assert f'label {first_label(folder)} holds #090909 at {count} pixels, which classes' in message
    assert "Give it to a class, or write ignore: '#090909'" in message


def test_a_value_that_is_no_class_is_refused_with_its_pixels(folder):
    count = int((np.asarray(Image.open(first_label(folder))) == 3).sum())
    message = refusal(folder, SOURCES + 'classes: {ground: 0, circle: 1, square: 2}')
    assert f'holds 3 at {count} pixels, which classes' in message
    assert '4 of 4 labels of train hold 3' in message


def test_masks_are_written_once_until_the_file_or_the_classes_change(folder):
    text = SOURCES + 'classes: {ground: 0, circle: 1, other: [2, 3]}\n'

    def written(text):
        return [pair.label for pair in prepare(folder, text)['train'].pairs]

    first = written(text)
    before = [os.stat(path).st_mtime_ns for path in first]
    assert written(text) == first
    assert [os.stat(path).st_mtime_ns for path in first] == before
    assert not set(written(text + 'ignore: 7')) & set(first)
    os.utime(first_label(folder), (1, 1))
    assert [old == new for old, new in zip(first, written(text), strict=True)] == [
        False,
        *[True] * 3,
    ]


def test_the_files_of_the_user_stay_as_they_are(folder):
    before = {path: path.read_bytes() for path in folder.glob('*_labels/*')}
    prepare(folder, SOURCES + 'classes: {ground: 0, circle: 1, other: [2, 3]}\n')
    assert {path: path.read_bytes() for path in folder.glob('*_labels/*')} == before
