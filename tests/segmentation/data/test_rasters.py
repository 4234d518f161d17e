"""Annotated objects of any format become masks, by one rule."""

import json

import numpy as np
import pytest
from helpers import ROOT
from mmengine.config import Config
from PIL import Image

pytest.importorskip('mmseg')
from casvit_mm import InputError
from casvit_mm.datasets.formats.outlines import mask_fields, polygon_fields
from casvit_mm.segmentation.data import rasters
from casvit_mm.segmentation.data.checks import inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.fix import fix_dataset
from casvit_mm.segmentation.data.prepare import prepare_dataset
from casvit_mm.segmentation.task import apply_dataset

SIZE = (40, 20)  # width and height
RNG = np.random.default_rng(0)


def square(left, top, side):
    right, bottom = left + side, top + side
    return [left, top, right, top, right, bottom, left, bottom]


def ring():
    """A mask with a hole: 10 x 10 pixels at (2, 2), less 4 x 4 in its middle."""
    mask = np.zeros(SIZE[::-1], dtype=bool)
    mask[2:12, 2:12] = True
    mask[5:9, 5:9] = False
    return mask


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('CASVIT_MM_CACHE', str(tmp_path / 'cache'))


@pytest.fixture
def folder(tmp_path):
    """Two images each in train and val; a cell with a hole, a nucleus in it, and a box alone."""
    for split in ('train', 'val'):
        (tmp_path / split).mkdir()
        images, annotations = [], []
        for i in (1, 2):
            pixels = RNG.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / f'{i}.png')
            images.append(dict(id=i, file_name=f'{i}.png', width=SIZE[0], height=SIZE[1]))
            found = [
                (2, polygon_fields([square(3, 3, 6)], *SIZE)),  # smaller, and listed first
                (1, mask_fields(ring())),
                (2, dict(bbox=[20, 4, 10, 8], area=80)),
            ]
            for category, fields in found:
                identity = dict(
                    id=len(annotations) + 1, image_id=i, category_id=category, iscrowd=0
                )
                annotations.append({**identity, **fields})
        categories = [dict(id=1, name='cell'), dict(id=2, name='nucleus')]
        content = dict(images=images, annotations=annotations, categories=categories)
        (tmp_path / f'{split}.json').write_text(json.dumps(content))
    describe(tmp_path, '')
    return tmp_path


def describe(folder, more):
    sources = ''.join(f'{s}: {{annotations: {s}.json, images: {s}}}\n' for s in ('train', 'val'))
    (folder / 'dataset.yaml').write_text(sources + more)


def label(folder):
    """The mask of the first image of train."""
    data = read_dataset(folder / 'dataset.yaml')
    inspection = inspect_dataset(data, ('train', 'val'))
    assert inspection.trainable()
    return np.asarray(Image.open(inspection.pairs['train'][0].label)), inspection


def test_the_smaller_object_stays_visible_and_holes_and_boxes_are_as_told(folder):
    found, inspection = label(folder)
    assert inspection.data.classes == ('background', 'cell', 'nucleus')
    assert found.shape == SIZE[::-1]
    assert (found[3:9, 3:9] == 2).all()
    expected = np.where(ring(), 1, 0)
    expected[3:9, 3:9] = 2
    np.testing.assert_array_equal(found[:, :20], expected[:, :20])
    assert (found[4:12, 20:30] == 255).all()
    assert set(np.unique(found[:, 30:])) == {0}
    kinds = [issue.kind for issue in inspection.issues['train']]
    assert 'object without mask' in kinds


@pytest.mark.parametrize(
    ('more', 'classes', 'values'),
    [
        ('background: null\n', ('cell', 'nucleus'), {0, 1, 255}),
        ('background: ground\nclasses: {both: [cell, nucleus]}\n', ('ground', 'both'), {0, 1, 255}),
        ('classes: [nucleus]\n', ('background', 'nucleus'), {0, 1, 255}),
        ('ignore: [nucleus]\n', ('background', 'cell'), {0, 1, 255}),
        ('background: cell\n', ('cell', 'nucleus'), {0, 1, 255}),
    ],
)
def test_categories_are_joined_dropped_and_ignored(folder, more, classes, values):
    describe(folder, more)
    found, inspection = label(folder)
    assert inspection.data.classes == classes
    assert set(np.unique(found)) == values
    if 'ignore' in more:
        assert (found[3:9, 3:9] == 255).all()
    if 'classes: [nucleus]' in more:
        assert found[2, 2] == 0
        assert 'left out by classes: background' in str(inspection.issues['train'])


def test_training_reads_copies_that_outlive_the_cache(folder, tmp_path):
    data = read_dataset(folder / 'dataset.yaml')
    prepared = prepare_dataset(data, ('train', 'val'), tmp_path / 'work')
    for pair in prepared['train'].pairs:
        assert str(tmp_path / 'work') in pair.label
    assert prepared['train'].pixels[2] == 2 * 36


def test_a_set_is_taken_apart_as_any_other(folder):
    source = 'data: {annotations: train.json, images: train}\nsplit: {val: 0.5, seed: 0}\n'
    (folder / 'dataset.yaml').write_text(source)
    data = read_dataset(folder / 'dataset.yaml')
    inspection = inspect_dataset(data, ('train', 'val'))
    assert [len(inspection.pairs[split]) for split in ('train', 'val')] == [1, 1]


def test_what_is_damaged_is_named_and_left_out_of_the_copy(folder, tmp_path):
    content = json.loads((folder / 'train.json').read_text())
    content['annotations'][0]['segmentation'] = [[1, 2, 3]]
    content['annotations'][1]['segmentation']['counts'] = 'xx'
    content['images'].append(dict(id=3, file_name='gone.png', width=40, height=20))
    (folder / 'train.json').write_text(json.dumps(content))
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r'missing image.* 2 more like it'):
        prepare_dataset(data, ('train', 'val'), tmp_path / 'work')
    inspection = inspect_dataset(data, ('train', 'val'))
    messages = str(inspection.issues['train'])
    assert 'broken polygon' in messages
    assert 'RLE that does not decode' in messages
    path, _ = fix_dataset(inspection, tmp_path / 'fixed')
    fixed = inspect_dataset(read_dataset(path), ('train', 'val'))
    assert fixed.trainable()
    assert len(fixed.pairs['train']) == 2


def test_boxes_alone_are_refused(folder, tmp_path):
    for split in ('train', 'val'):
        content = json.loads((folder / f'{split}.json').read_text())
        for annotation in content['annotations']:
            annotation.pop('segmentation', None)
        (folder / f'{split}.json').write_text(json.dumps(content))
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r'has boxes alone \(6\), and segmentation needs outlines'):
        prepare_dataset(data, ('train', 'val'), tmp_path / 'work')


def test_splits_of_different_categories_are_refused(folder, tmp_path):
    content = json.loads((folder / 'val.json').read_text())
    content['categories'].append(dict(id=3, name='dust'))
    (folder / 'val.json').write_text(json.dumps(content))
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match='has categories that train does not have: dust'):
        prepare_dataset(data, ('train', 'val'), tmp_path / 'work')


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ('ignore: [dust]\n', "ignore names 'dust'"),
        ('background: [a]\n', 'no text'),
        ('background: null\nclasses: [cell]\n', 'nothing to tell apart'),
    ],
)
def test_a_wrong_description_is_refused(folder, more, message):
    describe(folder, more)
    with pytest.raises(InputError, match=message):
        read_dataset(folder / 'dataset.yaml')


def test_annotations_are_read_once_by_one_process(folder, tmp_path, monkeypatch):
    read = []
    load = rasters.load_split
    monkeypatch.setattr(rasters, 'load_split', lambda *a: read.append(a[1]) or load(*a))
    prepare_dataset(read_dataset(folder / 'dataset.yaml'), ('train', 'val'), tmp_path / 'work')
    assert read == ['train', 'val']
    read.clear()
    monkeypatch.setattr('casvit_mm.segmentation.task.on_first_rank', lambda work: 1 / 0)
    cfg = Config.fromfile(ROOT / 'configs/semfpn_casvit_xs_ade20k.py')
    with pytest.raises(ZeroDivisionError):  # the other ranks wait for what the first has read
        apply_dataset(cfg, str(folder / 'dataset.yaml'), ('train', 'val'))
    assert not read
