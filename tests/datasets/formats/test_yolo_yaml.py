"""A data.yaml of YOLO becomes a description of ours, wherever its tool left the files."""

import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.yolo_yaml import is_yolo_description, translate_description


@pytest.fixture
def folder(tmp_path):
    for name in ('images', 'labels'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    Image.new('RGB', (80, 40)).save(tmp_path / 'train/images/a.jpg')
    return tmp_path


def translate(folder, **content):
    content = dict(dict(names=['car'], train='train/images'), **content)
    assert is_yolo_description(content)
    return translate_description(content, folder / 'data.yaml')


def source(folder):
    return {
        key: str(folder / 'train' / name)
        for key, name in dict(images='images', annotations='labels').items()
    }


@pytest.mark.parametrize(
    'written',
    ['train/images', '../train/images', ['train/images'], r'train\images', './train/images/'],
)
@pytest.mark.parametrize('root', [None, '.', '../datasets/elsewhere', '/gone/datasets'])
def test_folders_are_found_where_ultralytics_and_roboflow_write_them(folder, written, root):
    found = translate(folder, path=root, train=written, nc=1, roboflow={})
    notes = found.pop('notes', [])
    assert len(notes) == (root not in (None, '.'))
    assert all(f'path: {root} is no folder on this machine' in note for note in notes)
    assert found == dict(names=['car'], root=str(folder), train=[source(folder)])


@pytest.mark.parametrize(
    'line', ['./train/images/a.jpg', 'train/images/a.jpg', '{}/train/images/a.jpg']
)
def test_a_text_file_lists_images(folder, line):
    (folder / 'lists').mkdir()
    place = 'train.txt' if line.startswith('./') else 'lists/train.txt'
    (folder / place).write_text(line.format(folder) + '\n')
    (found,) = translate(folder, train=place)['train']
    assert found == dict(images=str(folder), annotations=str(folder), list=str(folder / place))


def test_names_are_made_where_only_their_number_is_given(folder):
    content = dict(train='train/images', nc=2)
    assert is_yolo_description(content)
    found = translate_description(content, folder / 'data.yaml')
    assert found['names'] == ['class_0', 'class_1']


def test_validation_is_another_word_for_val(folder):
    assert 'val' in translate(folder, validation='train/images')


def test_labels_beside_the_images_stay_there(folder):
    (folder / 'train/labels').rmdir()
    (found,) = translate(folder)['train']
    assert found['annotations'] == found['images']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(train='gone/images'), r'train: folder .*gone/images does not exist'),
        (dict(train='/home/me/set/train/images'), r'no place on this machine. Write train/images'),
        (dict(train=r'C:\set\train\images'), r'no place on this machine. Write train/images'),
        (dict(train='/home/me/set'), r'no place on this machine. Write where it lies'),
        (dict(train='train/images/a.jpg'), 'is a file; name a folder of images or a text file'),
        (dict(val=3), 'val must name a folder'),
        (dict(kpt_shape=[17, 3]), 'keypoints'),
        (dict(task='obb'), r'turned boxes \(OBB\)'),
        (dict(nc=3), 'nc says 3 classes, and names has 1'),
        (dict(nc='two'), 'nc must be the number of classes'),
        (dict(nc=10**12), 'nc must be the number of classes'),
    ],
)
def test_a_wrong_description_is_refused(folder, content, message):
    with pytest.raises(InputError, match=message):
        translate(folder, **content)


def test_a_list_of_images_on_another_machine_is_refused_with_the_way_to_write_it(folder):
    (folder / 'train.txt').write_text('/content/set/train/images/a.jpg\n/content/set/b.jpg\n')
    with pytest.raises(InputError, match=r'2 of 2 images do not exist.* like ./train/images/a.jpg'):
        translate(folder, train='train.txt')


def test_our_own_descriptions_are_none_of_yolo():
    assert not is_yolo_description(dict(train=dict(images='a', annotations='b'), names=['car']))
    assert not is_yolo_description(dict(train='a'))
