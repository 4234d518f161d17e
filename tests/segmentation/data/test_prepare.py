import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg')
from segmentation_data import NAMES, SOURCES, first_label, prepare


def test_pairs_and_pixels_are_those_of_the_files(folder):
    prepared = prepare(folder)
    train = prepared['train']
    assert [Path(pair.image).name for pair in train.pairs] == [f'000{i}.png' for i in range(1, 5)]
    labels = np.stack([np.asarray(Image.open(pair.label)) for pair in train.pairs])
    assert train.pixels.tolist() == [int((labels == value).sum()) for value in range(4)]
    assert train.pixels.dtype == np.int64
    assert train.ignored == (labels == 255).sum() > 0
    assert len(json.loads(train.file.read_text())['pairs']) == 4


def test_prepared_splits_can_be_broadcast(folder):
    prepared = prepare(folder)['train']
    assert pickle.loads(pickle.dumps(prepared)).pairs == prepared.pairs


def test_val_stands_in_for_a_test_split_that_is_not_there(folder):
    assert prepare(folder, splits=('test',))['test'].file.name == 'val.json'


def test_a_class_without_pixels_is_a_note(folder):
    text = SOURCES + 'classes: [ground, circle, square, triangle, star]'
    prepared = prepare(folder, text)
    assert prepared['train'].pixels[4] == 0
    assert prepared['train'].notes == ("class 'star' has no pixel in train; it cannot be learnt",)
    assert "class 'star' has no pixel in val; its IoU is not measured" in prepared['val'].notes


def test_a_mask_without_a_class_is_a_note(folder):
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(first_label(folder))
    (note,) = prepare(folder)['train'].notes
    assert note == f'label {first_label(folder)} holds ignored values only'


def test_an_ignored_class_is_a_note(folder):
    (note,) = prepare(folder, SOURCES + NAMES + 'ignore: 3')['train'].notes
    assert note.startswith("class 'triangle' of ")
    assert 'also under ignore:' in note
