"""Checks of detection data: every planted issue is found once, and fixed where that can be."""

import copy
import dataclasses
import functools
import io
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, run_command
from PIL import Image, ImageEnhance

pytest.importorskip('mmdet')
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config, DictAction
from pycocotools import mask as coco_mask

from casvit_mm import InputError
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.formats.coco import check_coco
from casvit_mm.datasets.report import console
from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.detection.data.anchors import (
    best_overlaps,
    propose_anchors,
    read_anchors,
    scale_factors,
)
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.fix import fix_dataset
from casvit_mm.detection.data.issues import ISSUE_KINDS
from casvit_mm.detection.data.mask_checks import rle_counts
from casvit_mm.detection.data.objects import read_objects
from casvit_mm.detection.data.prepare import prepare_dataset
from casvit_mm.detection.data.report_tables import print_report, verdict
from casvit_mm.detection.data.statistics import advise, describe_anchors, describe_split
from casvit_mm.engine.data_check import check_dataset

MASK = ROOT / 'configs/maskrcnn_casvit_xs_coco.py'
RETINA = ROOT / 'configs/retinanet_casvit_xs_coco.py'


@functools.cache
def _config(path):
    return Config.fromfile(path)


def load_config(path):
    """Return a config that may be changed; reading its bases takes a second."""
    return copy.deepcopy(_config(path))


@pytest.fixture(scope='session')
def clean(tmp_path_factory):
    """A generated set without issues."""
    return generate_shapes(tmp_path_factory.mktemp('clean'), sizes=(24, 6, 6), side=64, seed=3)


@pytest.fixture
def folder(clean, tmp_path):
    """A copy of it that may be spoilt."""
    return Path(shutil.copytree(clean.parent, tmp_path / 'data'))


def edit(folder, change, split='train'):
    """Rewrite the annotations of a split."""
    path = folder / f'{split}.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def inspect(folder, with_masks=True, read_images=True):
    return inspect_dataset(read_dataset(folder / 'dataset.yaml'), with_masks, read_images)


def kinds(inspection):
    """How often each kind was found, over all splits."""
    return Counter(d.kind for found in inspection.issues.values() for d in found)


def test_a_clean_set_has_no_defect(clean):
    inspection = inspect(clean.parent)
    assert inspection.issues == dict(train=[], val=[], test=[])
    assert verdict(inspection) == 'YES: training can start; no issue was found.'


# Each plant spoils the copy in one way; the name is the kind of issue it must give.
PLANTS = {}


def plant(kind):
    return lambda function: PLANTS.setdefault(f'{kind}: {function.__name__}', function)


def put(kind, section, **values):
    """Plant an issue by setting fields of the second entry of a list."""

    def change(content):
        content[section][1].update(copy.deepcopy(values))

    PLANTS[f'{kind}: {" ".join(values)} {len(PLANTS)}'] = lambda folder: edit(folder, change)


def remove(kind, section, field):
    PLANTS[f'{kind}: {section} without {field}'] = lambda folder: edit(
        folder, lambda content: content[section][1].pop(field)
    )


SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
SOUND = dict(bbox=[10, 10, 20, 20], area=400, segmentation=[SQUARE])

remove('missing field', 'images', 'width')
remove('missing field', 'annotations', 'id')
remove('missing field', 'annotations', 'area')
remove('missing field', 'annotations', 'bbox')
put('malformed entry', 'annotations', id='7')
put('malformed entry', 'images', file_name=7)
remove('malformed category', 'categories', 'name')
put('malformed category', 'categories', name=None)
put('duplicate category', 'categories', name='circle')
put('duplicate annotation id', 'annotations', id=1)
put('impossible image size', 'images', width=0)
put('impossible image size', 'images', height='64')
put('missing image', 'images', file_name='gone.png')
put('unknown category', 'annotations', category_id=9)
put('unknown category', 'annotations', category_id='1')
put('unknown image', 'annotations', image_id=99)
put('malformed box', 'annotations', bbox=[1, 2, 3])
put('malformed box', 'annotations', bbox=[1, 2, '3', 4])
put('malformed box', 'annotations', bbox=[1, 2, float('nan'), 4])
put('malformed area', 'annotations', area='12')
put('malformed area', 'annotations', area=float('nan'))
put('object without mask', 'annotations', segmentation=[])
put('broken polygon', 'annotations', segmentation=[[1, 2, 3, 4]])
put('broken polygon', 'annotations', segmentation=[[1, 2, 3, 4, 5, 6, 7]])
put('broken polygon', 'annotations', segmentation=[[1, 2, 3, 4, 5, 'six']])
put('broken polygon', 'annotations', segmentation='polygon')
put('box without area', 'annotations', bbox=[10, 10, 0, 20], segmentation=[SQUARE])
put('box without area', 'annotations', bbox=[30, 30, -20, -20], segmentation=[SQUARE])
put('box outside its image', 'annotations', **{**SOUND, 'bbox': [70, 70, 20, 20]})
put('box beyond the edge', 'annotations', bbox=[40, 10, 30, 20], area=480,
    segmentation=[[40, 10, 64, 10, 64, 30, 40, 30]])  # fmt: skip
put('tiny box (< 2 px)', 'annotations', bbox=[10, 10, 1.5, 9], area=13.5,
    segmentation=[[10, 10, 11.5, 10, 11.5, 19, 10, 19]])  # fmt: skip
put('area not positive', 'annotations', **{**SOUND, 'area': 0})
put('area differs from object', 'annotations', **{**SOUND, 'area': 900})
put('flat polygon', 'annotations', **{**SOUND, 'segmentation': [SQUARE, [1, 1, 2, 2, 3, 3]]})
put('self-crossing polygon', 'annotations',
    **{**SOUND, 'segmentation': [[10, 10, 30, 30, 30, 10, 10, 25]]})  # fmt: skip
put('polygon beyond the image', 'annotations', bbox=[0, 10, 20, 20], area=250,
    segmentation=[[-5, 10, 20, 10, 20, 30]])  # fmt: skip
put('box differs from mask', 'annotations', **{**SOUND, 'bbox': [20, 20, 20, 20]})
put('RLE that does not decode', 'annotations', segmentation=dict(size=[64, 64], counts=[5]))
put('RLE that does not decode', 'annotations', segmentation=dict(size=[64, 64], counts='~'))
put('RLE that does not decode', 'annotations', segmentation=dict(size=64, counts=[4096]))
put('RLE of another size', 'annotations', segmentation=dict(size=[32, 128], counts=[9, 9, 4078]))
put('empty RLE', 'annotations', segmentation=dict(size=[64, 64], counts=[4096]))


def rle(box):
    """Return the encoded mask of a box in an image of 64 x 64."""
    x, y, w, h = box
    mask = np.zeros((64, 64), np.uint8, order='F')
    mask[y : y + h, x : x + w] = 1
    encoded = coco_mask.encode(mask)
    return dict(size=encoded['size'], counts=encoded['counts'].decode())


@plant('duplicate box')
def repeated_box(folder):
    edit(folder, lambda c: c['annotations'].append({**c['annotations'][1], 'id': 9999}))


@plant('malformed entry')
def text_among_categories(folder):
    edit(folder, lambda c: c['images'].append(dict(id=2.5, file_name='x', width=1, height=1)))


@plant('missing field')
def no_entry_at_all(folder):
    edit(folder, lambda c: c['annotations'].append('annotation'))


@plant('duplicate image id')
def repeated_image(folder):
    edit(folder, lambda c: c['images'].append(c['images'][1]))


@plant('missing list')
def no_list(folder):
    edit(folder, lambda c: c.pop('categories'))


@plant('missing list')
def number_for_a_list(folder):
    edit(folder, lambda c: c.update(images=5))


@plant('unreadable annotations')
def cut_json(folder):
    (folder / 'train.json').write_text('{"images": [')


@plant('no image folder')
def no_folder(folder):
    shutil.rmtree(folder / 'train')


@plant('splits disagree on categories')
def other_name(folder):
    edit(folder, lambda c: c['categories'][1].update(name='hexagon'), 'val')


@plant('class without objects')
def class_gone(folder):
    def change(content):
        for annotation in content['annotations']:
            annotation['category_id'] = min(annotation['category_id'], 2)

    edit(folder, change, 'val')


@plant('rare class')
def class_rare(folder):
    def change(content):
        of_class = [a for a in content['annotations'] if a['category_id'] == 3]
        for annotation in of_class[2:]:
            annotation['category_id'] = 2

    edit(folder, change)


@plant('category names alike')
def names_alike(folder):
    for split in ('train', 'val', 'test'):
        edit(folder, lambda c: c['categories'][1].update(name='Circle '), split)


def describe(folder, old, new):
    path = folder / 'dataset.yaml'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@plant('unreadable source')
def listed_but_not_there(folder):
    names = [path.name for path in sorted((folder / 'train').iterdir())]
    (folder / 'list.txt').write_text('\n'.join([*names, 'nowhere.png']))
    describe(folder, 'images: train}', 'images: train, list: list.txt}')


@plant('class not learnt')
def class_empty_in_train(folder):
    describe(folder, 'train:', 'classes: [circle, square, triangle]\ntrain:')

    def change(content):
        for annotation in content['annotations']:
            annotation['category_id'] = min(annotation['category_id'], 2)

    edit(folder, change)


def share(folder, split, other):
    """Let ``other`` list the first image of ``split`` as well."""
    (folder / 'first.txt').write_text('0001\n')
    sources = [{'annotations': f'{other}.json', 'images': other}]
    sources.append({'annotations': f'{split}.json', 'images': split, 'list': 'first.txt'})
    describe(folder, f'{{annotations: {other}.json, images: {other}}}', json.dumps(sources))


@plant('train shares images')
def train_image_in_val(folder):
    share(folder, 'train', 'val')


@plant('val and test share images')
def val_image_in_test(folder):
    share(folder, 'val', 'test')


def add_image(folder, name, size=(64, 64), split='train', objects=1, **save):
    """Add an image of noise with a sound object to a split."""
    rng = np.random.default_rng(len(name))
    noise = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(folder / split / name, **save)
    list_image(folder, name, size, split, objects)


def list_image(folder, name, size=(64, 64), split='train', objects=1):
    def change(content):
        image = dict(id=900, file_name=name, width=size[0], height=size[1])
        content['images'].append(image)
        for _ in range(objects):
            content['annotations'].append(dict(id=9000, image_id=900, category_id=1, **SOUND))

    edit(folder, change, split)


@plant('image without objects')
def empty_image(folder):
    add_image(folder, 'empty.png', objects=0)


@plant('unreadable image')
def text_for_an_image(folder):
    add_image(folder, 'text.png')
    (folder / 'train/text.png').write_text('not an image')


@plant('unreadable image')
def empty_file(folder):
    add_image(folder, 'nothing.png')
    (folder / 'train/nothing.png').write_bytes(b'')


@plant('unreadable image')
def cut_image(folder):
    add_image(folder, 'cut.jpg', quality=95)
    data = (folder / 'train/cut.jpg').read_bytes()
    (folder / 'train/cut.jpg').write_bytes(data[: len(data) * 3 // 4])


@plant('image of another size')
def other_size(folder):
    add_image(folder, 'large.png', size=(80, 64))
    edit(folder, lambda c: c['images'][-1].update(width=64))


@plant('image of another size')
def other_size_of_the_same_proportions(folder):
    add_image(folder, 'half.png')
    edit(folder, lambda c: c['images'][-1].update(width=32, height=32))


@plant('image turned by EXIF')
def turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    add_image(folder, 'turned.jpg', size=(64, 48), exif=exif)


@plant('image twice in a split')
def twice(folder):
    shutil.copy(folder / 'train/0001.png', folder / 'train/again.png')
    list_image(folder, 'again.png')


@plant('image in two splits')
def leaked(folder):
    shutil.copy(folder / 'val/0001.png', folder / 'train/leaked.png')
    list_image(folder, 'leaked.png')


@plant('near-duplicate across splits')
def brightened(folder):
    image = Image.open(folder / 'val/0001.png')
    ImageEnhance.Brightness(image).enhance(0.8).save(folder / 'train/dark.jpg', quality=90)
    list_image(folder, 'dark.jpg')


@plant('no usable object')
def crowds_only(folder):
    edit(folder, lambda c: [a.update(iscrowd=1) for a in c['annotations']], 'val')


ALSO = {
    'no usable object': {'class without objects'},
    'class not learnt': {'class without objects'},
    'train shares images': {'image in two splits'},
    'val and test share images': {'image in two splits'},
}


@pytest.mark.parametrize('name', PLANTS)
def test_a_planted_defect_is_found_once_and_nothing_else(folder, name):
    kind = name.partition(':')[0]
    PLANTS[name](folder)
    inspection = inspect(folder)
    found = kinds(inspection)
    for consequence in ALSO.get(kind, ()):
        found.pop(consequence)
    assert found == {kind: 1}
    assert all(d.where.strip() for issues in inspection.issues.values() for d in issues)


def test_every_kind_is_planted():
    assert {name.partition(':')[0] for name in PLANTS} == set(ISSUE_KINDS)


FIXED = [name for name in PLANTS if ISSUE_KINDS[name.partition(':')[0]].fix]


@pytest.mark.parametrize('name', FIXED)
def test_what_can_be_mended_is_gone_from_the_copy(folder, name):
    PLANTS[name](folder)
    path, changes = fix_dataset(inspect(folder), folder / 'clean')
    again = inspect_dataset(read_dataset(path), True)
    assert name.partition(':')[0] in {issue.kind for _, issue in changes}
    assert kinds(again) == {}
    assert again.trainable()


# What the fast checks refuse; damaged images and RLE end training later.
LATE = ('unreadable image', 'RLE')


@pytest.mark.parametrize('name', [n for n in PLANTS if not n.startswith(LATE)])
@pytest.mark.parametrize('config', [MASK, RETINA])
def test_the_verdict_is_what_training_says(folder, name, config):
    PLANTS[name](folder)
    try:
        data = read_dataset(folder / 'dataset.yaml')
        prepare_dataset(data, SPLITS, folder / 'prepared', config == MASK)
        starts = True
    except InputError:
        starts = False
    assert inspect(folder, with_masks=config == MASK).trainable() == starts


def test_the_first_fault_is_raised_and_the_rest_are_counted(folder):
    def change(content):
        for annotation in content['annotations'][2:5]:
            annotation['category_id'] = 9

    edit(folder, change)
    message = r'(?s)annotation 3 has category_id 9.*2 more such issues; python tools/check_data\.py'
    with pytest.raises(InputError, match=message):
        check_coco(folder / 'train.json', folder / 'train', 'train')


def test_the_place_that_an_annotation_was_converted_from_is_named(folder):
    source = 'Annotations/x.xml, object 3'
    edit(folder, lambda c: c['annotations'][1].update(source=source, bbox=[1]))
    (issue,) = inspect(folder).issues['train']
    assert source in issue.message
    assert source in issue.where


def test_without_a_config_a_missing_mask_is_no_obstacle(folder):
    edit(folder, lambda c: c['annotations'][1].update(segmentation=[]))
    inspection = inspect(folder, with_masks=None)
    assert kinds(inspection) == {'object without mask': 1}
    assert inspection.trainable()
    assert 'with boxes but not with masks' in verdict(inspection)


def test_a_faulty_test_split_stops_training_before_it_is_needed(folder):
    edit(folder, lambda c: c['annotations'][1].update(bbox=[1]), 'test')
    assert not inspect(folder).trainable()


def test_fast_reads_no_image(folder):
    for path in (folder / 'train').iterdir():
        path.write_text('not an image')
    inspection = inspect(folder, read_images=False)
    assert inspection.issues['train'] == []


VALUES = (None, True, -1, 3.5, 'x', '5', [], {}, [None], float('nan'), float('inf'), 10**400)
FIELDS = [
    *(('images', f) for f in ('id', 'file_name', 'width', 'height')),
    *(('annotations', f) for f in ('id', 'image_id', 'category_id', 'bbox', 'area')),
    *(('annotations', f) for f in ('segmentation', 'iscrowd')),
    *(('categories', f) for f in ('id', 'name')),
]


@pytest.mark.parametrize(('section', 'field'), FIELDS)
@pytest.mark.parametrize('with_masks', [True, None])
def test_no_value_of_any_field_makes_the_check_fail(shapes, tmp_path, section, field, with_masks):
    for number, value in enumerate(VALUES):
        folder = Path(shutil.copytree(shapes.parent, tmp_path / str(number)))
        edit(folder, lambda c, value=value: c[section][1].update({field: value}))
        inspection = inspect(folder, with_masks)
        assert verdict(inspection).startswith(('YES', 'NO'))
        try:
            path, _ = fix_dataset(inspection, folder / 'clean')
        except InputError:
            assert not (folder / 'clean').exists()
        else:
            assert inspect_dataset(read_dataset(path), with_masks).trainable()


@pytest.mark.parametrize('section', ['images', 'annotations', 'categories'])
@pytest.mark.parametrize('entry', [None, 5, 'x', [], {}])
def test_no_entry_makes_the_check_fail(folder, section, entry):
    edit(folder, lambda c: c[section].insert(1, entry))
    assert not inspect(folder).trainable()


def test_a_corrected_size_scales_objects_of_an_image_that_was_resized(folder):
    other_size_of_the_same_proportions(folder)
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    annotation = json.loads(read(path, 'train'))['annotations'][-1]
    assert annotation['bbox'] == [20, 20, 40, 40]
    assert annotation['segmentation'] == [[2 * v for v in SQUARE]]
    assert annotation['area'] == 1600


def test_a_box_is_not_clipped_at_an_edge_that_is_wrong(folder):
    add_image(folder, 'wide.png', size=(80, 64))
    values = dict(bbox=[50, 10, 20, 20], segmentation=[[50, 10, 70, 10, 70, 30, 50, 30]])
    edit(folder, lambda c: c['annotations'][-1].update(values))
    edit(folder, lambda c: c['images'][-1].update(width=60))
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    content = json.loads(read(path, 'train'))
    assert content['images'][-1]['width'] == 80
    assert content['annotations'][-1]['bbox'] == values['bbox']
    assert content['annotations'][-1]['segmentation'] == values['segmentation']


def test_a_polygon_is_clipped_at_the_edge_exactly(folder):
    triangle = [-20, 10, 20, 10, 20, 50]  # leaves (0, 10) (20, 10) (20, 50) (0, 30)
    values = dict(bbox=[-20, 10, 40, 40], area=800, segmentation=[triangle])
    edit(folder, lambda c: c['annotations'][1].update(values))
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    annotation = json.loads(read(path, 'train'))['annotations'][1]
    (polygon,) = annotation['segmentation']
    corners = {tuple(point) for point in np.reshape(polygon, (-1, 2)).tolist()}
    assert corners == {(0, 10), (20, 10), (20, 50), (0, 30)}
    assert annotation['bbox'] == [0, 10, 20, 40]
    assert annotation['area'] == 600


def read(description, split):
    return (description.parent / f'{split}.json').read_text()


def test_only_train_loses_an_image_that_is_in_two_splits(folder):
    leaked(folder)
    path, _ = fix_dataset(inspect(folder), folder / 'clean')
    names = {
        split: [image['file_name'] for image in json.loads(read(path, split))['images']]
        for split in ('train', 'val')
    }
    assert 'leaked.png' not in names['train']
    assert len(names['train']) == 24
    assert len(names['val']) == 6


def test_fixing_never_writes_over_a_file(folder):
    (folder / 'clean').mkdir()
    (folder / 'clean/val.json').write_text('mine')
    with pytest.raises(InputError, match=r'val\.json exist there; name another folder'):
        fix_dataset(inspect(folder), folder / 'clean')
    assert [p.name for p in (folder / 'clean').iterdir()] == ['val.json']
    assert (folder / 'clean/val.json').read_text() == 'mine'


def test_fixing_refuses_to_leave_a_split_empty(folder):
    text = (folder / 'dataset.yaml').read_text()
    line = '{annotations: val.json, images: val}'
    text = text.replace('{annotations: train.json, images: train}', line)
    (folder / 'dataset.yaml').write_text(text)
    with pytest.raises(InputError, match='would leave train with 0 images and 0 annotations'):
        fix_dataset(inspect(folder), folder / 'clean')
    assert not (folder / 'clean').exists()


def test_fixing_leaves_the_original_untouched(folder):
    repeated_box(folder)
    before = (folder / 'train.json').read_bytes()
    fix_dataset(inspect(folder), folder / 'clean')
    assert (folder / 'train.json').read_bytes() == before


@pytest.mark.parametrize('seed', range(5))
def test_run_lengths_are_those_that_pycocotools_decodes(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((300, 500), np.uint8, order='F')
    mask[rng.integers(0, 200) :, rng.integers(0, 200) : 400] = rng.random() < 0.8
    mask[:40] = rng.random((40, 500)) < 0.3
    counts = rle_counts(coco_mask.encode(mask)['counts'].decode())
    rebuilt = np.repeat(np.arange(len(counts)) % 2, counts).reshape(500, 300).T
    assert np.array_equal(rebuilt, mask)


def test_overlaps_with_anchors_are_those_on_mmdets_grid():
    cfg = load_config(RETINA)
    anchors = read_anchors(cfg)
    generator = AnchorGenerator(**anchors.settings)
    cells = [(512 // stride, 512 // stride) for stride in (8, 16, 32, 64, 128)]
    grid = generator.grid_priors(cells, device='cpu')
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(100, 200, (40, 2)), rng.uniform(12, 300, (40, 2))], axis=1)
    corners = torch.from_numpy(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    expected = bbox_overlaps(corners, torch.cat(grid).double()).max(dim=1).values
    np.testing.assert_allclose(best_overlaps(boxes, anchors), expected, rtol=1e-5)


@pytest.mark.parametrize('config', [MASK, RETINA])
def test_the_proposed_options_reach_the_recall_that_is_promised(config):
    cfg = load_config(config)
    rng = np.random.default_rng(0)
    sides = rng.uniform(9, 14, (400, 2)) * [1, 3]
    boxes = np.concatenate([rng.uniform(0, 500, (400, 2)), sides], axis=1)
    present, promised, _ = propose_anchors(boxes, read_anchors(cfg))
    assert promised > present + 0.2

    content = dict(
        images=[dict(id=1, file_name='a', width=1333, height=800)],
        categories=[dict(id=1, name='a')],
        annotations=[
            dict(id=i, image_id=1, category_id=1, bbox=box.tolist(), area=100.0)
            for i, box in enumerate(boxes)
        ],
    )
    fit = describe_anchors(cfg, read_objects(content))
    options = [option.split('=', 1) for option in fit['cfg_options']]
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in options})
    assert (best_overlaps(boxes, read_anchors(cfg)) >= 0.5).mean() == pytest.approx(promised)
    assert fit['anchor_recall_proposed'] == pytest.approx(promised)


def test_advice_on_the_scale_can_be_given_as_options(folder):
    def change(content):
        for image in content['images']:
            image.update(width=4000, height=4000)
        for annotation in content['annotations']:
            annotation.update(bbox=[10, 10, 60, 60], area=3600)

    edit(folder, change)
    inspection = inspect(folder, with_masks=False, read_images=False)
    cfg = load_config(RETINA)
    fit = describe_anchors(cfg, inspection.objects['train'])
    (advice,) = [text for text in advise(inspection, {}, fit, cfg) if 'A tenth of' in text]
    options = dict(o.split('=', 1) for o in advice.partition('--cfg-options ')[2].split())
    cfg.merge_from_dict({k: DictAction._parse_iterable(v.strip('"')) for k, v in options.items()})
    pipelines = [cfg[f'{s}_dataloader'].dataset.pipeline for s in ('train', 'val', 'test')]
    scales = {tuple(step.scale) for p in pipelines for step in p if step.type == 'Resize'}
    assert scales == {(1792, 1088)}
    small = 60 * scale_factors(np.array([[4000, 4000]]), (1792, 1088))
    assert small == pytest.approx(16.3, abs=0.1)


def test_figures_count_what_is_learnt(folder):
    content = json.loads((folder / 'train.json').read_text())
    total = len(content['annotations'])
    content['annotations'][0].update(iscrowd=1)
    content['annotations'][1].update(bbox=[10, 10, 0.5, 9])
    figures = describe_split(read_objects(content), 24)
    assert figures['objects'] == sum(figures['objects_per_class'].values()) == total - 2
    assert (figures['crowds'], figures['not_learnt']) == (1, 1)
    assert figures['objects_per_image']['mean'] == pytest.approx((total - 2) / 24)
    assert figures['image_width'] == dict(p0=64, p10=64, p50=64, p90=64, p100=64)


def test_a_limit_below_the_fullest_image_is_told(folder):
    data = dataclasses.replace(read_dataset(folder / 'dataset.yaml'), max_dets=3)
    inspection = inspect_dataset(data, False, read_images=False)
    splits = {n: describe_split(o, len(o.images)) for n, o in inspection.objects.items()}
    advice = advise(inspection, splits, {}, load_config(RETINA))
    assert any('more than max_dets: 3. Put "max_dets: 50"' in line for line in advice)


def test_the_report_tells_verdict_first_and_survives_markup_in_names(folder, capsys):
    for split in ('train', 'val', 'test'):
        edit(folder, lambda c: c['categories'][1].update(name='[/red]a[b]'), split)
    edit(folder, lambda c: c['annotations'][1].update(category_id=7))
    inspection = inspect(folder)
    splits = {n: describe_split(o, len(o.images)) for n, o in inspection.objects.items()}
    print_report(inspection, splits, {}, ['advice'], 'c.py')
    printed = capsys.readouterr().out
    assert printed.startswith('NO: training would refuse')
    assert '[/red]a[b]' in printed
    assert 'annotation 2 has category_id 7' in printed


def test_tables_of_a_file_are_wide_enough():
    screen = console()
    screen.file = io.StringIO()
    assert screen.width >= 120 or screen.is_terminal


@pytest.mark.parametrize('classes', [1, 80])
def test_pictures_are_drawn_for_few_and_many_classes(folder, tmp_path, classes):
    def change(content):
        content['categories'] = [dict(id=i, name=f'class {i}') for i in range(classes)]
        for i, annotation in enumerate(content['annotations']):
            annotation['category_id'] = i % classes
        x, y, w, h = (int(v) for v in content['annotations'][0]['bbox'])
        content['annotations'][0]['segmentation'] = rle([x, y, w, h])

    for split in ('train', 'val', 'test'):
        edit(folder, change, split)
    repeated_box(folder)
    assert check_dataset(folder / 'dataset.yaml', tmp_path / 'out')
    report = json.loads((tmp_path / 'out/report.json').read_text())
    expected = {'classes', 'sizes', 'samples_train', 'samples_val', 'samples_test'}
    assert {Path(name).stem for name in report['pictures']} >= {*expected, 'findings_train'}
    for name in report['pictures']:
        with Image.open(tmp_path / 'out' / name) as image:
            assert min(image.size) > 150


def run(*arguments):
    return run_command(sys.executable, 'tools/check_data.py', *arguments)


@pytest.mark.slow
def test_the_tool_ends_with_2_where_training_would_and_fix_mends_it(folder, tmp_path):
    edit(folder, lambda c: c['annotations'][1].update(category_id=9))
    out, clean = tmp_path / 'out', tmp_path / 'clean'
    arguments = (folder / 'dataset.yaml', '--config', MASK, '--out', out)
    result = run(*arguments, '--fix', clean)
    assert result.returncode == 2, result.stderr
    assert result.stdout.startswith('NO: ')
    assert 'unknown category' in result.stdout
    again = run(clean / 'dataset.yaml', '--config', MASK, '--out', tmp_path / 'again', '--fast')
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.startswith('YES: ')


def test_the_tool_names_a_missing_description_and_config(folder, tmp_path):
    result = run(tmp_path / 'nowhere.yaml')
    assert result.returncode == 2
    assert 'nowhere.yaml (--data) does not exist' in result.stderr
    with pytest.raises(InputError, match=r'config nowhere\.py does not exist'):
        check_dataset(folder / 'dataset.yaml', tmp_path, config='nowhere.py')


def test_fix_without_reading_images_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match='leave --fast out'):
        check_dataset(folder / 'dataset.yaml', tmp_path, fix=tmp_path / 'c', read_images=False)
