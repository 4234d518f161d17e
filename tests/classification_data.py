"""What the tests of classification data share."""

from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS

from casvit_mm import InputError
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.prepare import prepare_dataset

SOURCES = 'train: {images: train}\nval: {images: val}\n'
NAMES = 'classes: [circle, square, triangle]\n'


def prepare(folder, text=SOURCES, splits=('train', 'val')):
    description = folder / 'mine.yaml'
    description.write_text(text)
    return prepare_dataset(read_dataset(description), splits, folder / 'prepared')


def refusal(folder, text=SOURCES, splits=('train', 'val')):
    """The message with which the data is refused."""
    with pytest.raises(InputError) as caught:
        prepare(folder, text, splits)
    return str(caught.value)


def first(folder):
    return folder / 'train/circle/0000.png'


def names_and_labels(prepared):
    return [(Path(path).name, label) for path, label in prepared.images]


def build(dataset):
    """Build a dataset as a Runner does whose config has mmpretrain's default scope."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(dataset)
