"""YOLO labels become COCO content, and a data.yaml of Ultralytics a description."""

import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.yolo import is_yolo_description, read_yolo, translate_description

NAMES = ('car', 'dog')


@pytest.fixture
def folder(tmp_path):
    """An image of 80 x 40 in train/images, with a box and an outline in train/labels."""
    for name in ('images', 'labels'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    Image.new('RGB', (80, 40)).save(tmp_path / 'train/images/a.b.jpg')
    text = '1 0.5 0.5 0.25 0.5\n\n0 0.25 0.25 0.75 0.25 0.75 0.75\n'
    (tmp_path / 'train/labels/a.b.txt').write_text(text, 'utf-8-sig')
    return tmp_path


def read(folder):
    return read_yolo(folder / 'train/labels', folder / 'train/images', NAMES)


def test_boxes_and_outlines_are_read_in_pixels(folder):
    content, unreadable = read(folder)
    assert unreadable == []
    assert content['images'] == [dict(id=1, file_name='a.b.jpg', width=80, height=40)]
    assert content['categories'] == [dict(id=1, name='car'), dict(id=2, name='dog')]
    box, outline = content['annotations']
    assert (box['category_id'], box['bbox'], box['area']) == (2, [30, 10, 20, 20], 400)
    assert 'segmentation' not in box
    assert (outline['category_id'], outline['bbox'], outline['area']) == (1, [20, 10, 40, 20], 400)
    assert outline['segmentation'] == [[20, 10, 60, 10, 60, 30]]
    assert outline['source'] == 'a.b.txt, line 3'


def test_an_image_without_labels_has_no_objects(folder):
    (folder / 'train/labels/a.b.txt').unlink()
    content, unreadable = read(folder)
    assert (len(content['images']), content['annotations'], unreadable) == (1, [], [])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('car 0.5 0.5 0.2 0.2', "holds 'car 0.5 0.5 0.2 0.2'; expected numbers"),
        ('2 0.5 0.5 0.2 0.2', 'has class 2, but names: has the numbers 0 to 1'),
        ('0.5 0.5 0.5 0.2 0.2', 'has class 0.5'),
        ('-1 0.5 0.5 0.2 0.2', 'has class -1'),
        ('0 50 50 20 20', 'has a value that is no share of the image'),
        ('0 nan 0.5 0.2 0.2', 'has a value that is no share of the image'),
        ('0 0.5 0.5 0.2 0.2 0.9', 'has 6 values; expected 5'),
        ('0', 'has 1 values; expected 5'),
    ],
)
def test_a_line_that_is_no_object_is_named(folder, line, message):
    (folder / 'train/labels/a.b.txt').write_text(f'0 0.5 0.5 0.2 0.2\n{line}\n')
    content, ((place, text),) = read(folder)
    assert len(content['annotations']) == 1
    assert place == 'a.b.txt, line 2'
    assert f'a.b.txt, line 2 {message}' in text


def test_files_that_cannot_be_read_are_named(folder):
    (folder / 'train/labels/a.b.txt').write_bytes(b'\xff\xfe\xff')
    (folder / 'train/images/bad.png').write_text('no image')
    content, unreadable = read(folder)
    assert len(content['images']) == 1
    assert [name for name, _ in unreadable] == ['a.b.txt', 'bad.png']


@pytest.mark.parametrize('written', ['train/images', '../train/images', ['train/images']])
@pytest.mark.parametrize('root', [None, '.', '../datasets/elsewhere'])
def test_folders_are_found_where_ultralytics_and_roboflow_write_them(folder, written, root):
    content = dict(path=root, train=written, names=['car'], nc=1, roboflow={})
    assert is_yolo_description(content)
    found = translate_description(content, folder / 'data.yaml')
    folders = {key: str(folder / 'train' / key) for key in ('images', 'labels')}
    source = dict(images=folders['images'], annotations=folders['labels'])
    assert found == dict(names=['car'], root=str(folder), train=[source])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(train='gone/images'), r'train: folder .*gone/images does not exist'),
        (dict(train='train/labels/a.b.txt'), 'is a file; name a folder of images'),
        (dict(train='train/images', val=3), 'val must name a folder'),
        (dict(train='train/images', kpt_shape=[17, 3]), 'keypoints'),
    ],
)
def test_a_wrong_description_is_refused(folder, content, message):
    with pytest.raises(InputError, match=message):
        translate_description(dict(content, names=['car']), folder / 'data.yaml')


def test_our_own_descriptions_are_none_of_ultralytics():
    assert not is_yolo_description(dict(train=dict(images='a', annotations='b'), names=['car']))
    assert not is_yolo_description(dict(train='a'))
