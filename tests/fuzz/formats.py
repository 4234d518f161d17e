"""Files of labelling tools that are fuzzed: one of a dataset in each format is changed."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import yaml
from hypothesis import strategies as st
from PIL import Image

from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.detection.data import description as detection
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.errors import InputError
from casvit_mm.segmentation.data import description as segmentation
from casvit_mm.segmentation.data.checks import inspect_dataset as inspect_masks
from fuzz.inputs import changed_bytes, changed_json, changed_value

__all__ = ['FORMATS', 'read_changed']

_SIDE = 32


def _image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _look(root: Path) -> None:
    """Look at a dataset for detection, then, whatever that says, for segmentation."""
    (root / 'dataset.split.json').unlink(missing_ok=True)
    with suppress(InputError):
        inspect_dataset(detection.read_dataset(root), None, scan_headers)
    (root / 'dataset.split.json').unlink(missing_ok=True)
    data = segmentation.read_dataset(root)
    inspect_masks(data, tuple(data.splits), scan_headers)


_LABELS = '0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.9 0.1 0.9 0.9\n0 .2 .2 .6 .2 .6 .6 .2 .6\n'
_YAML = dict(path='.', train='train/images', val=['val/images'], nc=2, names={0: 'car', 1: 'dog'})


def _yolo(root: Path) -> None:
    for i, split in enumerate(('train', 'val')):
        _image(root / split / 'images/a.png', i)
        _write(root / split / 'labels/a.txt', _LABELS)
    _write(root / 'data.yaml', yaml.safe_dump(_YAML))


_SQUARE = [[2, 2], [12, 2], [12, 12], [2, 12]]
_OBJECTS = [
    dict(classTitle='car', geometryType='polygon', points=dict(exterior=_SQUARE, interior=[])),
    dict(classTitle='car', geometryType='rectangle', points=dict(exterior=[[4, 5], [8, 9]])),
    dict(classTitle='dog', geometryType='bitmap', bitmap=dict(data='AAAA', origin=[3, 7])),
]
_SUPERVISELY = dict(size=dict(width=_SIDE, height=_SIDE), objects=_OBJECTS)


def _supervisely(root: Path) -> None:
    classes = [dict(title=title, shape='any') for title in ('car', 'dog')]
    _write(root / 'meta.json', json.dumps(dict(classes=classes)))
    for i, split in enumerate(('train', 'val')):
        _image(root / split / 'img/a.png', i)
        _write(root / split / 'ann/a.png.json', json.dumps(_SUPERVISELY))


_BOXES = (
    'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n'
    'a,x,/m/01,1,0.25,0.5,0.5,1,0\na,x,/m/02,1,0,1,0,1,1\n'
)


def _open_images(root: Path) -> None:
    for i, split in enumerate(('train', 'validation')):
        _image(root / split / 'a.png', i)
        _write(root / f'{split}-annotations-bbox.csv', _BOXES)
    _write(root / 'class-descriptions-boxable.csv', '/m/01,Car\n/m/02,Dog\n')


_MASKS = (
    'MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax\n'
    'm.png,a,/m/01,b,0.25,0.5,0.5,1\n'
)


def _masks(root: Path) -> None:
    _open_images(root)
    _image(root / 'm.png', 5)
    _write(root / 'train-annotations-object-segmentation.csv', _MASKS)


_URL = 'http://images.cocodataset.org/train2017/a.png'
_POLYGON = [2, 2, 12, 2, 12, 12]
_LVIS = dict(
    annotations=[
        dict(id=1, image_id=1, category_id=1, bbox=[2, 2, 10, 10], area=50, segmentation=[_POLYGON])
    ],
    images=[
        dict(id=1, coco_url=_URL, width=_SIDE, height=_SIDE, neg_category_ids=[2]),
    ],
    categories=[dict(id=1, name='car', synset='car.n.01'), dict(id=2, name='dog', synset='dog')],
)


def _lvis(root: Path) -> None:
    for i, split in enumerate(('train', 'val')):
        _image(root / f'{split}2017/a.png', i)
        text = json.dumps(_LVIS).replace('train2017', f'{split}2017')
        _write(root / f'lvis_v1_{split}.json', text)


def _yamls() -> st.SearchStrategy[bytes]:
    changed = changed_value(_YAML).map(lambda value: ascii(value).encode())
    return changed | changed_bytes(yaml.safe_dump(_YAML).encode())


# By format: what writes a dataset, the file that is changed, and what it becomes.
FORMATS: dict[str, tuple[Callable[[Path], None], str, st.SearchStrategy[bytes]]] = {
    'yolo_yaml': (_yolo, 'data.yaml', _yamls()),
    'yolo': (_yolo, 'train/labels/a.txt', changed_bytes(_LABELS.encode())),
    'supervisely': (_supervisely, 'train/ann/a.png.json', changed_json(_SUPERVISELY)),
    'open_images': (_open_images, 'train-annotations-bbox.csv', changed_bytes(_BOXES.encode())),
    'open_images_masks': (
        _masks,
        'train-annotations-object-segmentation.csv',
        changed_bytes(_MASKS.encode()),
    ),
    'lvis': (_lvis, 'lvis_v1_train.json', changed_json(_LVIS)),
}


def read_changed(root: Path, name: str, content: bytes) -> None:
    """Look at a dataset of which one file has been changed."""
    (root / name).write_bytes(content)
    _look(root)
