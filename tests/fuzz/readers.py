"""What is fuzzed: readers of what users bring, and sound input for each."""

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from safetensors.torch import save

import casvit_mm.detection.dataset  # noqa: F401  registers what a training reads by
from casvit_mm.classification.data import description as classification
from casvit_mm.classification.data.checks import inspect_dataset as inspect_classes
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.cvat import read_cvat
from casvit_mm.datasets.formats.gathering import Gathering
from casvit_mm.datasets.formats.label_studio import read_label_studio
from casvit_mm.datasets.formats.labelme import read_labelme
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.datasets.shapes import (
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.deploy.images import resize
from casvit_mm.deploy.predictor import fill_colour, prepare_tensor, size_steps
from casvit_mm.deploy.spec import Spec
from casvit_mm.detection.data import description as detection
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.prepare import PreparedSplit, prepare_dataset
from casvit_mm.errors import InputError
from casvit_mm.segmentation.data import description as segmentation
from casvit_mm.segmentation.data.checks import inspect_dataset as inspect_masks
from casvit_mm.weights.matching import read_checkpoint
from casvit_mm.weights.reading import class_names, forget_file, load_file
from fuzz.formats import FORMATS, read_changed
from fuzz.inputs import changed_bytes, changed_json, changed_value

__all__ = ['READERS', 'Reader']

_SIZES = (3, 2, 1)
_BOTH = ('train', 'val')


class Reader(NamedTuple):
    """Input near to what is sound, and what reads it: it may raise an InputError alone."""

    inputs: st.SearchStrategy
    read: Callable[[bytes], object]


def _detection(folder: Path) -> Path:
    return generate_shapes(folder, sizes=_SIZES, side=32)


def _yaml(value: object) -> bytes:
    """Return the YAML of a value, or what YAML makes of its text where it cannot hold it."""
    try:
        return yaml.safe_dump(value, allow_unicode=True).encode()
    except (yaml.YAMLError, UnicodeEncodeError):
        return ascii(value).encode()


def _descriptions(sound: dict) -> st.SearchStrategy[bytes]:
    return changed_value(sound).map(_yaml) | changed_bytes(_yaml(sound))


_SOURCE = {'annotations': 'train.json', 'images': 'train'}
_DESCRIPTIONS = {
    'detection': {
        'root': '.',
        'train': _SOURCE,
        'val': [{'annotations': 'val.json', 'images': 'val'}, dict(_SOURCE, list='list.txt')],
        'max_dets': 100,
        'classes': {'round': ['circle'], 'square': 'square'},
    },
    'segmentation': {
        'train': {'images': 'train', 'labels': 'train_labels', 'label_suffix': '.png'},
        'val': [{'images': 'val', 'labels': 'val_labels', 'list': 'list.txt'}],
        'classes': {'ground': [0, 0, 0], 'circle': '#ff0000', 'square': 'red', 'triangle': 'blue'},
        'ignore': [255, 7],
        'reduce_zero_label': False,
    },
    'classification': {
        'data': [{'images': 'train', 'list': 'list.txt', 'class_from': 'list'}, {'images': 'val'}],
        'split': {'val': 0.3, 'test': 0.1, 'seed': 3},
        'classes': ['circle', 'square', 'triangle'],
        'first_label': 0,
        'skip_unreadable': True,
    },
}


def _check_detection(path: Path) -> None:
    data = detection.read_dataset(path)
    trainable = inspect_dataset(data, True, scan_headers).trainable()
    try:
        prepared = prepare_dataset(data, _BOTH, path.parent / 'prepared', with_masks=True)
    except InputError:
        assert not trainable, 'the check calls trainable what training refuses'
        return
    if trainable:
        _load_for_training(prepared['train'])


_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(64, 48), keep_ratio=True),
    dict(type='RandomFlip', prob=1.0),
    dict(type='PackDetInputs'),
]


def _load_for_training(split: PreparedSplit) -> None:
    """Read a split that was called trainable as a training does."""
    with DefaultScope.overwrite_default_scope('mmdet'), redirect_stdout(io.StringIO()):
        dataset = DATASETS.build(
            dict(
                type='NamedCocoDataset',
                ann_file=str(split.annotations),
                data_prefix=dict(img=str(split.images)),
                metainfo=dict(classes=split.summary.classes),
                filter_cfg=dict(filter_empty_gt=True),
                pipeline=_PIPELINE,
            )
        )
        for number in range(len(dataset)):
            dataset[number]


def _check_segmentation(path: Path) -> None:
    data = segmentation.read_dataset(path)
    inspect_masks(data, tuple(data.splits))


def _check_classification(path: Path) -> None:
    data = classification.read_dataset(path)
    inspect_classes(data, tuple(data.splits))


_TASKS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None]]] = {
    'detection': (_detection, _check_detection),
    'segmentation': (
        lambda folder: generate_shape_labels(folder, sizes=_SIZES, side=32),
        _check_segmentation,
    ),
    'classification': (
        lambda folder: generate_shape_classes(folder, sizes=_SIZES, side=32),
        _check_classification,
    ),
}


# A folder that is named is listed with all below it, which takes its time for the root of a disk.
_OUTSIDE = re.compile(rb'\.\.|(?<![A-Za-z0-9_.])/|~|\\x2f|\\x2e|\\/')


def _description(task: str) -> Callable[[Path], Reader]:
    def make(folder: Path) -> Reader:
        generate, check = _TASKS[task]
        path = generate(folder)
        (folder / 'list.txt').write_text('0001\n0002\n')

        def read(content: bytes) -> None:
            if _OUTSIDE.search(content):
                return
            _forget_split(path)
            path.write_bytes(content)
            described_task(path)
            check(path)

        return Reader(_descriptions(_DESCRIPTIONS[task]), read)

    return make


def _forget_split(path: Path) -> None:
    """Let each description draw a split of its own."""
    path.with_suffix('.split.json').unlink(missing_ok=True)


def _coco(folder: Path) -> Reader:
    path = _detection(folder)
    file = folder / 'train.json'
    sound = json.loads(file.read_text())

    def read(content: bytes) -> None:
        file.write_bytes(content)
        _check_detection(path)

    return Reader(changed_json(sound), read)


_VOC = """<annotation><filename>{name}.png</filename>
<size><width>32</width><height>32</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>28.5</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
</object></annotation>"""
_NUMBERS = ['3', '4', '20', '28.5', '32', 'cat', 'dog', '0', '{name}.png']


_numbers_as_text = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(['', '1e999', '-1e308', '1_0', '٣', '0x10', '../1.png', '/', '&#0;', '&lt;']),
)


@st.composite
def _changed_voc(draw: st.DrawFn) -> bytes:
    text = _VOC.format(name='0001')
    for _ in range(draw(st.integers(1, 3))):
        old = draw(st.sampled_from(_NUMBERS))
        text = text.replace(
            f'>{old}<', f'>{draw(st.text(max_size=8) | st.integers().map(str))}<', 1
        )
    return text.encode(errors='replace')


def _voc(folder: Path) -> Reader:
    path = _detection(folder)
    boxes = folder / 'boxes'
    boxes.mkdir()
    for name in ('0001', '0002'):
        (boxes / f'{name}.xml').write_text(_VOC.format(name=name))
    source = dict(annotations='boxes', images='train')
    other = dict(annotations='other', images='val')
    (folder / 'other').mkdir()
    (folder / 'other/0001.xml').write_text(_VOC.format(name='0001'))
    path.write_bytes(_yaml(dict(train=source, val=other)))

    def read(content: bytes) -> None:
        (boxes / '0001.xml').write_bytes(content)
        data = detection.read_dataset(path)
        assert inspect_dataset(data, None, scan_headers)
        prepare_dataset(data, _BOTH, folder / 'prepared', with_masks=False)

    damaged = changed_bytes(_VOC.format(name='0001').encode())
    return Reader(_changed_voc() | _changed_voc() | damaged, read)


def _lists(folder: Path) -> Reader:
    """Lists of images of each task, by one file of three folders."""
    paths = []
    for task, (generate, _) in _TASKS.items():
        path = generate(folder / task)
        sources = {
            'detection': (_SOURCE, dict(annotations='val.json', images='val')),
            'segmentation': tuple(dict(images=s, labels=f'{s}_labels') for s in _BOTH),
            'classification': tuple(dict(images=s) for s in _BOTH),
        }[task]
        listed = dict(sources[0], list='../list.txt')
        described = dict(train=listed, val=sources[1])
        if task != 'detection':
            described['classes'] = ['ground', 'circle', 'square', 'triangle']
        path.write_bytes(_yaml(described))
        paths.append(path)
    lines = b'0001.png circle\n0002.png 1\ncircle/0003.png\n'

    def read(content: bytes) -> None:
        (folder / 'list.txt').write_bytes(content)
        refused = []
        for path, (_, check) in zip(paths, _TASKS.values(), strict=True):
            try:
                check(path)
            except InputError as error:
                refused.append(str(error))

    odd = ['a' * 300, 'a/' * 3000, '\0', '../' * 50, '/', '.', '\ud800', '1.png \0', '1.png 1e9']
    names = st.text(max_size=12) | st.sampled_from([*odd, *lines.decode().splitlines()])
    text = st.lists(names, max_size=6)
    written = text.map(lambda names: '\n'.join(names).encode(errors='surrogatepass'))
    return Reader(changed_bytes(lines) | written, read)


def _checkpoint_bytes() -> list[bytes]:
    content = {
        'state_dict': {'a.weight': torch.zeros(2, 3), 'a.bias': torch.ones(3, dtype=torch.half)},
        'meta': {'dataset_meta': {'classes': ('cat', 'dog')}, 'epoch': 3, 'seed': np.float64(1)},
    }
    written = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        written.append(file.getvalue())
    return written


_META = {'dataset_meta': {'classes': ['cat', 'dog'], 'palette': [[1, 2, 3]]}, 'epoch': 3, 'iter': 9}


def _pickled(content: object) -> bytes:
    file = io.BytesIO()
    try:
        torch.save(content, file)
    except (UnicodeEncodeError, OverflowError):
        torch.save(None, file)
    return file.getvalue()


def _checkpoint(folder: Path) -> Reader:
    path = folder / 'a.pth'

    def read(content: bytes) -> None:
        path.write_bytes(content)
        _read_weights(path)

    values = {'state_dict': {'a': 1, 'b': [1]}, 'meta': _META, 'model': {}, 'ema_state_dict': {}}
    damaged = [changed_bytes(sound) for sound in _checkpoint_bytes()]
    return Reader(st.one_of(*damaged, changed_value(values).map(_pickled)), read)


def _safetensors(folder: Path) -> Reader:
    path = folder / 'a.safetensors'
    sound = save({'a': torch.zeros(2, 3)}, {'casvit_mm.meta': json.dumps(_META)})

    def read(content: bytes) -> None:
        path.write_bytes(content)
        _read_weights(path)

    def with_meta(text: bytes) -> bytes:
        return save({'a': torch.zeros(2)}, {'casvit_mm.meta': text.decode(errors='replace')})

    return Reader(changed_bytes(sound) | changed_json(_META).map(with_meta), read)


def _read_weights(path: Path) -> None:
    forget_file()
    class_names(load_file(path))
    read_checkpoint(path)


_SPEC = dict(
    task='classification',
    classes=['cat', 'dog'],
    steps=[
        dict(op='short_edge', size=16, interpolation='pillow-bicubic'),
        dict(op='fit', scale=[20, 30], interpolation='bilinear'),
        dict(op='multiple', divisor=8, interpolation='bicubic'),
        dict(op='center_crop', size=[9, 9]),
    ],
    mean=[1.0, 2.0, 3.0],
    std=[1.0, 2.0, 3.0],
    rgb=True,
    preprocess='outside',
    size=None,
    least=8,
    precision='fp32',
    score_thr=0.1,
    mask_thr=0.5,
    label_thr=None,
    align_corners=False,
    version=1,
)


def _deploy(folder: Path) -> Reader:
    image = np.zeros((5, 7, 3), np.uint8)

    def read(content: bytes) -> None:
        spec = Spec.from_json(content.decode(errors='replace'), 'a.onnx')
        if max([1, *(max(np.ravel(_numbers(step))) for step in spec.steps)]) < 2000:  # in no time
            resized = resize(image, size_steps(spec), fill_colour(spec))
            prepare_tensor(resized.pixels, spec)

    return Reader(changed_json(_SPEC), read)


def _numbers(step: dict) -> list[int]:
    values = [value for key, value in step.items() if key in ('size', 'scale', 'divisor')]
    return [1, *(int(number) for value in values for number in np.ravel(value))]


_LABELME = dict(
    version='5.5.0',
    flags={'blurred': False},
    shapes=[
        dict(label='cat', points=[[3, 4], [20, 28.5]], group_id=1, shape_type='rectangle'),
        dict(label='cat', points=[[1, 1], [9, 1], [9, 9]], group_id=1, shape_type='polygon'),
        dict(label='dog', points=[[9, 9], [9, 12]], shape_type='circle', flags={'old': True}),
        dict(label='dog', points=[[1, 1], [2, 2]], shape_type='mask', mask='iVBORw0KGgo='),
    ],
    imagePath='0001.png',
    imageHeight=32,
    imageWidth=32,
)
_REGION = dict(original_width=32, original_height=32, image_rotation=0, id='r1')
_BOX = dict(x=3, y=4, width=20, height=20, rotation=0, rectanglelabels=['cat'])
_OUTLINE = dict(points=[[1, 1], [9, 1], [9, 9]], polygonlabels=['dog'])
_LABEL_STUDIO = [
    dict(
        data=dict(image='/data/upload/1/0001.png'),
        annotations=[
            dict(
                result=[
                    dict(_REGION, type='rectanglelabels', value=_BOX),
                    dict(_REGION, type='polygonlabels', value=_OUTLINE),
                    dict(_REGION, type='brushlabels', value=dict(rle=[0, 0], brushlabels=['a'])),
                ],
                was_cancelled=False,
            )
        ],
        predictions=[],
    )
]
_CVAT = b"""<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="0001.png" width="32" height="32" subset="Train">
<box label="cat" xtl="3" ytl="4" xbr="20" ybr="28.5" rotation="30" group_id="1"/>
<polygon label="cat" points="1.5,1;9,1;9,9" group_id="1"><attribute name="a">b</attribute></polygon>
<mask label="dog" rle="1, 2, 1" left="3" top="4" width="2" height="2"/>
<ellipse label="dog" cx="9" cy="9" rx="3" ry="4"/></image></annotations>"""


def _tool(
    name: str, inputs: st.SearchStrategy, read_files: Callable[[SourceFiles], Gathering]
) -> Callable[[Path], Reader]:
    """Return the reader of a labelling tool's file ``name`` beside an image."""

    def make(folder: Path) -> Reader:
        _detection(folder)
        file = folder / 'train' / name

        def read(content: bytes) -> None:
            file.write_bytes(content)
            annotations = folder / 'train' if name == '0001.json' else file
            read_files(SourceFiles(annotations, folder / 'train')).content()

        return Reader(inputs, read)

    return make


def _format(name: str, folder: Path) -> Reader:
    build, file, inputs = FORMATS[name]
    build(folder)
    return Reader(inputs, partial(read_changed, folder, file))


READERS: dict[str, Callable[[Path], Reader]] = {
    'detection_yaml': _description('detection'),
    'segmentation_yaml': _description('segmentation'),
    'classification_yaml': _description('classification'),
    'coco': _coco,
    'voc': _voc,
    **{name: partial(_format, name) for name in FORMATS},
    'labelme': _tool('0001.json', changed_json(_LABELME), read_labelme),
    'cvat': _tool('annotations.xml', changed_bytes(_CVAT), read_cvat),
    'label_studio': _tool('export.json', changed_json(_LABEL_STUDIO), read_label_studio),
    'lists': _lists,
    'checkpoint': _checkpoint,
    'safetensors': _safetensors,
    'deploy': _deploy,
}
