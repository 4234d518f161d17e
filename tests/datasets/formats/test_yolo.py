"""YOLO labels become COCO content."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.packed import plain_outline
from casvit_mm.datasets.formats.registry import read_source
from casvit_mm.datasets.formats.yolo import FORMAT, read_yolo

NAMES = ('car', 'dog')


@pytest.fixture
def folder(tmp_path):
    """An image of 80 x 40 in train/images, with a box and an outline in train/labels."""
    for name in ('images', 'labels'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    Image.new('RGB', (80, 40)).save(tmp_path / 'train/images/a.b.jpg')
    text = '1 0.5 0.5 0.25 0.5\r\n\r\n0 0.25 0.25 0.75 0.25 0.75 0.75\r\n'
    (tmp_path / 'train/labels/a.b.txt').write_bytes(text.encode('utf-8-sig'))
    return tmp_path


def read(folder, **given):
    source = dict(annotations=folder / 'train/labels', images=folder / 'train/images', names=NAMES)
    return read_yolo(SourceFiles(**{**source, **given}))


def write(folder, line):
    (folder / 'train/labels/a.b.txt').write_text(line)


def test_boxes_and_outlines_are_read_in_pixels(folder):
    content, unreadable = read(folder)
    assert unreadable == []
    assert content['images'] == [dict(id=1, file_name='a.b.jpg', width=80, height=40)]
    assert content['categories'] == [dict(id=1, name='car'), dict(id=2, name='dog')]
    box, outline = content['annotations']
    assert (box['category_id'], box['bbox'], box['area']) == (2, [30, 10, 20, 20], 400)
    assert 'segmentation' not in box
    assert (outline['category_id'], outline['bbox'], outline['area']) == (1, [20, 10, 40, 20], 400)
    assert plain_outline(outline['segmentation']) == [[20, 10, 60, 10, 60, 30]]
    assert outline['source'] == 'a.b.txt, line 3'


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=40))
def test_outlines_keep_all_their_points(tmp_path_factory, points):
    folder = tmp_path_factory.mktemp('yolo')
    Image.new('L', (300, 200)).save(folder / 'a.png')
    (folder / 'a.txt').write_text(f'1 {" ".join(f"{x} {y}" for x, y in points)}\n')
    content, _ = read_yolo(SourceFiles(folder, folder, names=NAMES))
    (annotation,) = content['annotations']
    found = np.reshape(plain_outline(annotation['segmentation']), (-1, 2)) / [300, 200]
    np.testing.assert_allclose(found, points, rtol=0, atol=1e-8)
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    box = np.reshape(annotation['bbox'], (2, 2)) / [300, 200]
    np.testing.assert_allclose(box, [low, high - low], rtol=0, atol=1e-8)


def test_sizes_are_those_of_the_image_as_training_sees_it(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (80, 40)).save(folder / 'train/images/a.b.jpg', exif=exif)
    content, _ = read(folder)
    assert (content['images'][0]['width'], content['images'][0]['height']) == (40, 80)
    assert content['annotations'][0]['bbox'] == [15, 20, 10, 40]


@pytest.mark.parametrize('text', [None, '', '\n \n'])
def test_an_image_without_labels_has_no_objects(folder, text):
    (folder / 'train/labels/a.b.txt').unlink()
    if text is not None:
        write(folder, text)
    content, unreadable = read(folder)
    assert (len(content['images']), content['annotations'], unreadable) == (1, [], [])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('car 0.5 0.5 0.2 0.2', "holds 'car 0.5 0.5 0.2 0.2'; expected numbers"),
        ('0 0,5 0,5 0,2 0,2', 'expected numbers with decimal points, not commas'),
        ('1 1 9 1 9 9 1 9 car 0', 'Turned boxes as DOTA has them are not learnt'),
        ('2 0.5 0.5 0.2 0.2', 'has class 2, but names: has the numbers 0 to 1'),
        ('0.5 0.5 0.5 0.2 0.2', 'has class 0.5'),
        ('-1 0.5 0.5 0.2 0.2', 'has class -1'),
        ('0 50 40 20 20', 'has a value that is no share of the image, from 0 to 1 (up to 50)'),
        ('0 nan 0.5 0.2 0.2', 'has a value that is no share of the image'),
        ('0 0.5 0.5 0.2', 'has 4 values; expected 5'),
        ('0 0.5 0.5 0.2 0.2 0.9', 'is the last a score, as in predictions?'),
        ('0', 'has 1 values; expected 5'),
    ],
)
def test_a_line_that_is_no_object_is_named(folder, line, message):
    write(folder, f'0 0.5 0.5 0.2 0.2\n{line}\n')
    content, ((place, text),) = read(folder)
    assert len(content['annotations']) == 1
    assert place == 'a.b.txt, line 2'
    assert 'a.b.txt, line 2 ' in text
    assert message in text


def test_files_that_cannot_be_read_are_named(folder):
    (folder / 'train/labels/a.b.txt').write_bytes(b'\xff\xfe\xff')
    (folder / 'train/images/bad.png').write_text('no image')
    content, unreadable = read(folder)
    assert len(content['images']) == 1
    assert [name for name, _ in unreadable] == ['a.b.txt', 'bad.png']


def test_two_images_of_one_label_file_are_named_and_not_taken(folder):
    Image.new('RGB', (8, 8)).save(folder / 'train/images/a.b.png')
    content, ((_, message),) = read(folder)
    assert content['images'] == []
    assert 'a.b.jpg and a.b.png have one label file, a.b.txt' in message


def test_labels_are_found_beside_images_and_by_the_rule_of_the_tools(folder):
    images = folder / 'train/images'
    content, _ = read(folder, annotations=folder / 'train', images=folder / 'train')
    assert [i['file_name'] for i in content['images']] == ['images/a.b.jpg']
    assert len(content['annotations']) == 2
    (folder / 'train/labels/a.b.txt').rename(images / 'a.b.txt')
    content, _ = read(folder, annotations=images)
    assert len(content['annotations']) == 2


@pytest.mark.parametrize('line', ['./a.b.jpg', 'a.b.jpg', 'a.b'])
def test_a_list_takes_images_by_path_name_or_stem(folder, line):
    Image.new('RGB', (8, 8)).save(folder / 'train/images/other.png')
    image_list = folder / 'train/images/train.txt'
    content, unreadable = read(folder, image_list=image_list, listed=(line,))
    assert ([i['file_name'] for i in content['images']], unreadable) == (['a.b.jpg'], [])
    assert len(content['annotations']) == 2
    _, unreadable = read(folder, image_list=image_list, listed=('gone.jpg',))
    assert "'gone.jpg' is not in" in unreadable[0][1]


def test_that_no_image_has_labels_is_told(folder):
    (folder / 'train/labels/a.b.txt').unlink()
    source = SourceFiles(folder / 'train/labels', folder / 'train/images', names=NAMES)
    _, found = read_source(source)
    assert 'no image of' in found.skipped[0][1]


def test_the_classes_of_label_studio_stand_in_a_text_file(folder):
    (folder / 'train/classes.txt').write_text('car\ndog\n')
    fields = FORMAT.describe(folder / 'train')
    assert fields['names'] == ['car', 'dog']
    assert fields['data'][0]['annotations'] == str(folder / 'train/labels')
    (folder / 'train/classes.txt').unlink()
    with pytest.raises(InputError, match='nothing that names their classes'):
        FORMAT.describe(folder / 'train')
    assert FORMAT.describe(folder) is None


def turned(width, height, angle):
    """A line of the corners of a rectangle in the middle of 80 x 40 pixels."""
    c, s = math.cos(angle), math.sin(angle)
    corners = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    points = [
        (40 + x * c * width / 2 - y * s * height / 2, 20 + x * s * width / 2 + y * c * height / 2)
        for x, y in corners
    ]
    return f'0 {" ".join(f"{x / 80:.6f} {y / 40:.6f}" for x, y in points)}'


def test_turned_boxes_are_refused_with_a_word_and_outlines_of_four_points_are_not(folder):
    data = folder / 'data.yaml'
    text = 'train: train/images\nval: train/images\nnames: [car, dog]\n'
    data.write_text(text)
    write(folder, f'{turned(20, 10, 0)}\n{turned(20, 10, 0.5)}\n')
    with pytest.raises(InputError, match=r'turned boxes \(OBB\).*add task: segment to data.yaml'):
        FORMAT.describe(data)
    data.write_text(f'{text}task: segment\n')
    assert FORMAT.describe(data) is not None
    data.write_text(text)
    for sound in (
        turned(20, 10, 0),  # upright
        '0 0.2 0.2 0.5 0.2 0.6 0.6 0.2 0.7',  # no rectangle
        f'{turned(20, 10, 0.5)}\n0 0.5 0.5 0.2 0.2',  # beside a box
    ):
        write(folder, sound)
        assert FORMAT.describe(data) is not None
