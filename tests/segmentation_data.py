"""What the tests of segmentation data share."""

import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

from casvit_mm import InputError
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.prepare import prepare_dataset

SOURCES = 'train: {images: train, labels: train_labels}\nval: {images: val, labels: val_labels}\n'
NAMES = 'classes: [ground, circle, square, triangle]\n'


def prepare(folder, text=SOURCES + NAMES, splits=('train', 'val')):
    description = folder / 'mine.yaml'
    description.write_text(text)
    return prepare_dataset(read_dataset(description), splits, folder / 'prepared')


def refusal(folder, text=SOURCES + NAMES, splits=('train', 'val')):
    """The message with which the data is refused."""
    with pytest.raises(InputError) as caught:
        prepare(folder, text, splits)
    return str(caught.value)


def first_label(folder):
    return folder / 'train_labels/0001.png'


def change_label(folder, value, count=7):
    """Put ``value`` into ``count`` pixels of the first label of train."""
    label = Image.open(first_label(folder))
    label.putdata([value] * count + list(label.getdata())[count:])
    label.save(first_label(folder))


def model_sees(folder, text, split='train'):
    """The masks of a split after mmseg has loaded them, in order."""
    prepared = prepare(folder, text)[split]
    data = read_dataset(folder / 'mine.yaml')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    dataset = build(
        dict(
            type='LabelDataset',
            ann_file=str(prepared.file),
            reduce_zero_label=data.reduce_zero_label,
            metainfo=dict(classes=data.classes, palette=data.palette, ignore=sorted(data.ignore)),
            pipeline=pipeline,
        )
    )
    return [item['gt_seg_map'] for item in dataset]


def build(dataset):
    """Build a dataset as a Runner does whose config has mmseg's default scope."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(dataset)
