"""Detection datasets spoilt in one way each, for the tests of their checks."""

import copy
import functools
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from helpers import ROOT
from mmengine.config import Config
from PIL import Image, ImageEnhance
from pycocotools import mask as coco_mask

from casvit_mm.datasets.image_scan import scan_images
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset

MASK = ROOT / 'configs/maskrcnn_casvit_xs_coco.py'
RETINA = ROOT / 'configs/retinanet_casvit_xs_coco.py'


@functools.cache
def _config(path):
    return Config.fromfile(path)


def load_config(path):
    """Return a config that may be changed; reading its bases takes a second."""
    return copy.deepcopy(_config(path))


def edit(folder, change, split='train'):
    """Rewrite the annotations of a split."""
    path = folder / f'{split}.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def inspect(folder, with_masks=True, scan=scan_images):
    return inspect_dataset(read_dataset(folder / 'dataset.yaml'), with_masks, scan)


def kinds(inspection):
    """How often each kind was found, over all splits."""
    return Counter(d.kind for found in inspection.issues.values() for d in found)


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
put('malformed entry', 'annotations', id='seven')
put('malformed entry', 'images', file_name=7)
remove('malformed category', 'categories', 'name')
put('malformed category', 'categories', name=None)
put('duplicate category', 'categories', name='circle')
put('duplicate annotation id', 'annotations', id=1)
put('impossible image size', 'images', width=0)
put('impossible image size', 'images', height='tall')
put('missing image', 'images', file_name='gone.png')
put('unknown category', 'annotations', category_id=9)
put('unknown category', 'annotations', category_id='one')
put('unknown image', 'annotations', image_id=99)
put('malformed entry', 'annotations', id=2**63)
put('malformed flag', 'annotations', iscrowd='maybe')
put('malformed flag', 'annotations', ignore=2)
put('object to be ignored', 'annotations', ignore=True)
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
put('RLE that does not decode', 'annotations', segmentation=dict(size=[64, 64], counts=[9, 4086]))
put('empty RLE', 'annotations', segmentation=dict(size=[64, 64], counts=[4096]))


def rle(box):
    """Return the encoded mask of a box in an image of 64 x 64."""
    x, y, w, h = box
    mask = np.zeros((64, 64), np.uint8, order='F')
    mask[y : y + h, x : x + w] = 1
    encoded = coco_mask.encode(mask)
    return dict(size=encoded['size'], counts=encoded['counts'].decode())


@plant('missing image')
def dangling_link(folder):
    list_image(folder, 'link.png')
    (folder / 'train/link.png').symlink_to('/gone/far.png')


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


@plant('file under two image ids')
def one_file_of_two_entries(folder):
    def change(content):
        entry = content['images'][1]
        content['images'].append(dict(entry, id=900, file_name=f'./{entry["file_name"]}'))
        content['annotations'][-1]['image_id'] = 900

    edit(folder, change)


@plant('boxes look like corners')
def corners(folder, split='train'):
    def change(content):
        for annotation in content['annotations']:
            x, y, w, h = annotation['bbox']
            annotation['bbox'] = [x, y, x + w, y + h]

    edit(folder, change, split)


@plant('missing list')
def no_list(folder):
    edit(folder, lambda c: c.pop('categories'))


@plant('missing list')
def number_for_a_list(folder):
    edit(folder, lambda c: c.update(images=5))


@plant('unreadable annotations')
def cut_json(folder):
    (folder / 'train.json').write_text('{"images": [')


@plant('missing folder')
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


@plant('class names alike')
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


@plant('splits share images: train')
def train_image_in_val(folder):
    share(folder, 'train', 'val')


@plant('splits share images: val')
def val_image_in_test(folder):
    share(folder, 'val', 'test')


def add_image(folder, name, size=(64, 64), split='train', objects=1, **save):
    """Add an image of noise with a sound object to a split."""
    rng = np.random.default_rng(len(name))
    noise = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(folder / split / name, **save)
    list_image(folder, name, size, split, objects)
    return folder / split / name


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


@plant('files not used')
def unlisted_image(folder):
    shutil.copy(folder / 'train/0001.png', folder / 'train/beside.png')


@plant('unreadable image')
def text_for_an_image(folder):
    add_image(folder, 'text.png')
    (folder / 'train/text.png').write_text('not an image')


@plant('unreadable image')
def empty_file(folder):
    add_image(folder, 'nothing.png')
    (folder / 'train/nothing.png').write_bytes(b'')


@plant('unreadable image')
def cut_jpeg(folder):
    cut(add_image(folder, 'cut.jpg', quality=95))


@plant('unreadable image')
def cut_png(folder):
    cut(add_image(folder, 'cut.png'))


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


@plant('image of another size')
def mask_of_another_image(folder):
    add_image(folder, 'large.png', size=(80, 64))
    edit(folder, lambda c: c['images'][-1].update(width=64))
    edit(folder, lambda c: c['annotations'][-1].update(segmentation=rle((10, 10, 20, 20))))


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


def read(path):
    return json.loads(Path(path).read_text())


def objects_by_image(path):
    """Sorted (class, rounded box) per image name."""
    content = read(path)
    classes = {c['id']: c['name'] for c in content['categories']}
    names = {i['id']: Path(i['file_name']).name for i in content['images']}
    found = {name: [] for name in names.values()}
    for a in content['annotations']:
        box = tuple(round(v, 2) for v in a['bbox'])
        found[names[a['image_id']]].append((classes[a['category_id']], box))
    return {name: sorted(objects) for name, objects in found.items()}
