"""Labels as a model sees them."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg')
from segmentation_data import NAMES, SOURCES, change_label, first_label, model_sees, prepare


def test_indices_of_a_palette_are_the_classes(folder):
    seen = model_sees(folder, SOURCES + NAMES)[0]
    assert Image.open(first_label(folder)).mode == 'P'
    np.testing.assert_array_equal(seen, np.asarray(Image.open(first_label(folder))))


def test_ignored_values_become_255(folder):
    change_label(folder, 11)
    seen = model_sees(folder, SOURCES + NAMES + 'ignore: [11, 3]')[0]
    file = np.asarray(Image.open(first_label(folder)))
    np.testing.assert_array_equal(seen == 255, np.isin(file, [3, 11, 255]))
    np.testing.assert_array_equal(seen[seen != 255], file[seen != 255])


def test_with_reduced_zero_label_value_1_is_the_first_class(folder):
    text = SOURCES + 'classes: [circle, square, triangle]\nreduce_zero_label: true\n'
    file = np.asarray(Image.open(first_label(folder))).astype(int)
    expected = np.where(np.isin(file, [0, 255]), 255, file - 1)
    np.testing.assert_array_equal(model_sees(folder, text)[0], expected)
    assert prepare(folder, text)['train'].pixels.shape == (3,)


def test_with_reduced_zero_label_ignored_values_are_those_of_the_file(folder):
    text = SOURCES + 'classes: [circle, square]\nreduce_zero_label: true\nignore: 3'
    file = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / 'val_labels').iterdir())])
    seen = np.stack(model_sees(folder, text, 'val'))
    assert (file == 3).any()
    np.testing.assert_array_equal(seen == 255, np.isin(file, [0, 3, 255]))
    pixels = prepare(folder, text)['val'].pixels
    assert pixels.tolist() == [int((seen == 0).sum()), int((seen == 1).sum())]


def test_one_bit_labels_are_0_and_1(folder):
    for path in [*(folder / 'train_labels').iterdir(), *(folder / 'val_labels').iterdir()]:
        Image.fromarray(np.asarray(Image.open(path)) > 0).save(path)
    text = SOURCES + 'classes: [ground, object]'
    seen = model_sees(folder, text)
    assert set(np.unique(seen)) == {0, 1}
    assert prepare(folder, text)['train'].pixels[1] == np.sum(seen)
