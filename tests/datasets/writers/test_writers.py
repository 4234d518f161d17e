"""A set is written whole or not at all, and what a format does not hold is counted."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.outlines import box_fields, mask_fields, polygon_fields
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.datasets.writers.registry import WRITERS, write_set

SQUARE = [2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]
OTHER = [20.0, 2.0, 30.0, 2.0, 30.0, 12.0]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.new('RGB', (80, 40)).save(path)
    return path


def labelled(photo, *objects, task='detection', names=('a.png',), **options):
    images = [ImageLabels(photo, name, 80, 40, [dict(o) for o in objects]) for name in names]
    categories = [dict(id=1, name='car')]
    return LabelledSet(task, categories, dict(train=images), **options)


def detected(fields, **more):
    return {'category_id': 1, 'iscrowd': 0, **fields, **more}


def losses(photo, tmp_path, to, *objects):
    made = labelled(photo, *objects)
    write_set(made, to, tmp_path / 'out')
    return dict(made.lost)


def ring():
    mask = np.zeros((40, 80), bool)
    mask[5:20, 5:20] = True
    mask[10:12, 10:12] = False
    return mask_fields(mask)


@pytest.mark.parametrize(
    ('to', 'one', 'what'),
    [
        ('yolo', detected(box_fields(1, 1, 9, 9), iscrowd=1), 'crowds, which readers would take'),
        ('labelme', detected(box_fields(1, 1, 9, 9), iscrowd=1), 'crowds, which readers'),
        ('yolo', detected(box_fields(1, 1, 9, 9), attributes=dict(a=1)), 'attributes of objects'),
        ('labelme', detected(box_fields(1, 1, 9, 9), attributes=dict(a=1)), 'attributes of obj'),
        ('yolo', detected(polygon_fields([SQUARE, OTHER], 80, 40)), 'objects of several polygons'),
        ('label-studio', detected(polygon_fields([SQUARE, OTHER], 80, 40)), 'objects of several'),
        ('yolo', detected(ring()), 'masks, written as polygons'),
        ('voc', detected(ring()), 'outlines and masks; the boxes are written'),
        ('cvat', detected(polygon_fields([SQUARE], 80, 40), bbox=[2, 2, 9, 9]), 'boxes that are'),
        ('cvat', detected(polygon_fields([SQUARE], 80, 40), area=5), 'areas that are not those'),
        ('cvat', detected(box_fields(1, 1, 9, 9), area=5), 'areas that are not those of the box'),
        ('cvat', detected(box_fields(1, 1, 9, 9), score=0.5), 'scores'),
        ('yolo', detected(box_fields(70, 1, 90, 9)), 'objects that reach beyond their image'),
        ('yolo', detected(box_fields(90, 1, 99, 9)), 'objects without area in their image'),
        ('cvat', detected(box_fields(1, 1, 9, 9), bbox=[1, 1, 0, 8]), 'boxes without area'),
        ('voc', detected(box_fields(1.5, 1, 9, 9)), 'parts of a pixel'),
        ('yolo', detected(box_fields(1, 1, 9, 9), keypoints=[1, 2]), 'fields of objects: keypoi'),
        ('labelme', detected(box_fields(1, 1, 9, 9), segmentation=[[1, 2]]), 'outlines and masks'),
    ],
)
def test_what_a_format_does_not_hold_is_counted(photo, tmp_path, to, one, what):
    (loss,) = losses(photo, tmp_path, to, one).items()
    assert loss[0].startswith(what)
    assert loss[1] == 1


@pytest.mark.parametrize('to', WRITERS)
def test_nothing_is_counted_where_all_is_held(photo, tmp_path, to):
    assert losses(photo, tmp_path, to, detected(box_fields(1, 1, 9, 9))) == {}


def test_coco_holds_everything_as_it_was(photo, tmp_path):
    one = detected(ring(), id=7, iscrowd=1, keypoints=[1, 2], source='a.txt, line 3')
    made = labelled(photo, one, detected(box_fields(1, 1, 9, 9), id=9, iscrowd=1, ignored=1))
    made.splits['train'][0].entry = dict(id=5, license=2, file_name='x/a.png')
    made.more = dict(train=dict(info=dict(year=2020)))
    path = write_set(made, 'coco', tmp_path / 'out')
    assert made.lost == {}
    content = json.loads((path.parent / 'annotations/instances_train.json').read_text())
    assert content['info'] == dict(year=2020)
    assert content['images'] == [
        dict(id=5, license=2, file_name='a.png', width=80, height=40),
    ]
    first, second = content['annotations']
    del one['source']
    assert first == dict(one, image_id=5)
    assert (second['iscrowd'], second['ignore']) == (0, 1)


def test_a_folder_that_exists_is_refused(photo, tmp_path):
    (tmp_path / 'out').mkdir()
    with pytest.raises(InputError, match='out exists; name another folder'):
        write_set(labelled(photo), 'coco', tmp_path / 'out')


def test_nothing_is_left_of_a_set_that_cannot_be_written(photo, tmp_path):
    with pytest.raises(InputError, match='cannot be written'):
        write_set(labelled(tmp_path / 'gone.png'), 'coco', tmp_path / 'out')
    assert [path.name for path in tmp_path.iterdir()] == ['photo.png']


@pytest.mark.parametrize('link', [True, False])
def test_images_are_linked_or_copied(photo, tmp_path, link):
    write_set(labelled(photo), 'yolo', tmp_path / 'out', link)
    written = tmp_path / 'out/images/train/a.png'
    assert written.is_symlink() == link
    assert written.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize(
    ('to', 'names', 'number'),
    [
        ('yolo', ('a.png', 'a.jpg', 'b/a.png'), 1),
        ('voc', ('a.png', 'b/a.png', 'b_a.jpg'), 1),
        ('coco', ('a.png', 'a.jpg', '../a.png'), 1),
        ('coco', ('a.png', 'a.jpg', 'b/a.png'), 0),
    ],
)
def test_images_of_one_name_are_renamed_and_counted(photo, tmp_path, to, names, number):
    made = labelled(photo, detected(box_fields(1, 1, 9, 9)), names=names)
    write_set(made, to, tmp_path / 'out')
    assert sum(made.lost.values()) == number
    pictures = [p for p in (tmp_path / 'out').rglob('*') if p.suffix in ('.png', '.jpg')]
    assert len(pictures) == 3


def classified(photo, **options):
    made = labelled(photo, task='classification', **options)
    made.splits['train'][0].classes = [('car', 0.75)] if made.predicted else [('car', None)]
    return made


def test_classes_of_images_are_tags_flags_choices_and_folders(photo, tmp_path):
    for to in ('cvat', 'labelme', 'label-studio', 'yolo'):
        write_set(classified(photo), to, tmp_path / to)
    tag = ElementTree.parse(tmp_path / 'cvat/annotations.xml').getroot().find('image/tag')
    assert tag.get('label') == 'car'
    flags = json.loads((tmp_path / 'labelme/train/a.json').read_text())['flags']
    assert flags == dict(car=True)
    (task,) = json.loads((tmp_path / 'label-studio/train.json').read_text())
    assert task['annotations'][0]['result'][0]['value'] == dict(choices=['car'])
    assert (tmp_path / 'yolo/train/car/a.png').is_file()


@pytest.mark.parametrize('to', ['coco', 'voc'])
def test_a_format_without_classes_of_images_is_refused(photo, tmp_path, to):
    with pytest.raises(InputError, match='take one of yolo, labelme, cvat, label-studio'):
        write_set(classified(photo), to, tmp_path / 'out')


def test_predictions_are_predictions_to_label_studio_and_auto_to_cvat(photo, tmp_path):
    one = detected(box_fields(8, 4, 16, 8), score=0.5)
    for to in ('label-studio', 'cvat', 'labelme'):
        write_set(labelled(photo, one, predicted=True), to, tmp_path / to)
    (task,) = json.loads((tmp_path / 'label-studio/train.json').read_text())
    (prediction,) = task['predictions']
    assert (prediction['score'], 'annotations' in task) == (0.5, False)
    (result,) = prediction['result']
    value = dict(x=10, y=10, width=10, height=10, rotation=0, rectanglelabels=['car'])
    assert (result['value'], result['score']) == (value, 0.5)
    view = ElementTree.parse(tmp_path / 'label-studio/label_config.xml').getroot()
    assert [element.get('name') for element in view] == ['image', result['from_name']]
    box = ElementTree.parse(tmp_path / 'cvat/annotations.xml').getroot().find('image/box')
    assert box.get('source') == 'auto'
    (shape,) = json.loads((tmp_path / 'labelme/train/a.json').read_text())['shapes']
    assert (shape['shape_type'], shape['score']) == ('rectangle', 0.5)
