"""What the masks of a split must hold together."""

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError

pytest.importorskip('mmseg')
from segmentation_data import NAMES, SOURCES, change_label, prepare, refusal


@pytest.mark.parametrize(
    ('value', 'text', 'message'),
    [
        (4, '', r'0001\.png holds 4 at 7 pixels, .* lists 4 names, for values 0 to 3\. 1 of 4 '),
        (4, '', r'labels of train hold 4\. Add a name or ignore: 4; if 0 means unlabelled'),
        (9, '', r'Put values that are no class under ignore: 9; classes are numbered without gaps'),
        (9, 'ignore: 7', r'ignore: \[7, 9\]'),
    ],
)
def test_values_outside_the_classes_are_refused(folder, value, text, message):
    change_label(folder, value)
    with pytest.raises(InputError, match=message):
        prepare(folder, SOURCES + NAMES + text)


def test_a_list_of_classes_that_is_too_short_is_told_with_the_number_of_files(folder):
    message = refusal(folder, SOURCES + 'classes: [ground, circle]')
    assert 'lists 2 names, for values 0 to 1' in message
    assert 'Add 2 names or ignore: [2, 3]' in message
    assert 'more like it: casvit-mm check-data lists them all' in message


def test_values_with_gaps_are_refused_with_the_line_that_reads_them(folder):
    for path in [*(folder / 'train_labels').iterdir(), *(folder / 'val_labels').iterdir()]:
        mask = np.asarray(Image.open(path)) > 0
        Image.fromarray(mask.astype(np.uint8) * 128).save(path)
    message = refusal(folder, SOURCES + 'classes: [ground, "on"]')
    assert "with the values written: classes: {ground: 0, 'on': 128}" in message


def test_images_in_two_splits_are_refused(folder):
    text = SOURCES + 'test: {images: val, labels: val_labels}\n' + NAMES
    message = refusal(folder, text, ('val', 'test'))
    assert '3 image(s) are in val and in test' in message
    assert 'a test split that is left out is val' in message


def test_train_that_is_ignored_as_a_whole_is_refused(folder):
    message = refusal(folder, SOURCES + NAMES + 'ignore: [0, 1, 2, 3]')
    assert 'shows no class at all: every pixel is ignored' in message


def test_masks_of_0_and_255_are_refused_with_the_line_that_reads_them(folder):
    for path in [*(folder / 'train_labels').iterdir(), *(folder / 'val_labels').iterdir()]:
        mask = np.asarray(Image.open(path)) > 0
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    message = refusal(folder, SOURCES + 'classes: [ground, object]')
    assert "shows no class but 'ground'" in message
    assert message.endswith('Write classes: {ground: 0, object: 255}.')
    prepare(folder, SOURCES + 'classes: {ground: 0, object: 255}')
