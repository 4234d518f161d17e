"""What labelling tools export is recognised by --data and read as a detection dataset."""

import json

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.description import described_task, read_fields
from casvit_mm.datasets.object_sources import load_split
from casvit_mm.detection.data.description import read_dataset

CVAT = '<annotations><version>1.1</version>{}</annotations>'
CVAT_IMAGE = (
    '<image id="0" name="{}" width="80" height="40" subset="{}">'
    '<box label="car" xtl="1" ytl="1" xbr="9" ybr="9"/></image>'
)


def save_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path)) + ord(path.stem[0])).integers(0, 255, (40, 80, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path)


def write_labelme(folder, *names):
    for name in names:
        save_image(folder / f'{name}.jpg')
        shape = dict(label='car', points=[[1, 1], [9, 9]], shape_type='rectangle')
        content = dict(shapes=[shape], imagePath=f'{name}.jpg', imageWidth=80, imageHeight=40)
        (folder / f'{name}.json').write_text(json.dumps(content))


def write_label_studio(path, *names):
    value = dict(x=10, y=10, width=10, height=10, rectanglelabels=['car'])
    result = dict(type='rectanglelabels', original_width=80, original_height=40, value=value)
    tasks = [
        dict(data=dict(image=f'/data/upload/1/{name}'), annotations=[dict(result=[result])])
        for name in names
    ]
    path.write_text(json.dumps(tasks))


def splits_of(path):
    data = read_dataset(path)
    return data, {
        name: [i['file_name'] for i in load_split(data, name).content['images']]
        for name in data.splits
    }


def test_a_folder_of_labelme_is_one_set(tmp_path):
    write_labelme(tmp_path, *'abcde')
    found = read_fields(tmp_path)
    assert found.notes[0] == 'read as LabelMe'
    assert described_task(tmp_path) == 'detection'
    _, splits = splits_of(tmp_path)
    assert sorted(splits['train'] + splits['val']) == [f'{name}.jpg' for name in 'abcde']
    assert len(splits['val']) == 1


def test_folders_of_labelme_named_as_splits_are_splits(tmp_path):
    write_labelme(tmp_path / 'train', 'a', 'b')
    write_labelme(tmp_path / 'valid', 'c')
    _, splits = splits_of(tmp_path)
    assert splits == dict(train=['a.jpg', 'b.jpg'], val=['c.jpg'])


def test_json_files_apart_from_their_images_are_found(tmp_path):
    write_labelme(tmp_path / 'json', *'abcde')
    (tmp_path / 'photos').mkdir()
    for path in (tmp_path / 'json').glob('*.jpg'):
        path.rename(tmp_path / 'photos' / path.name)
    data, splits = splits_of(tmp_path)
    assert sorted(splits['train'] + splits['val'])[0] == 'photos/a.jpg'
    assert load_split(data, 'train').unreadable == []


def test_subsets_of_cvat_are_splits(tmp_path):
    names = dict(Train=('a.jpg', 'b.jpg'), Validation=('c.jpg',))
    inner = ''
    for subset, files in names.items():
        for name in files:
            save_image(tmp_path / 'images' / subset / name)
            inner += CVAT_IMAGE.format(name, subset)
    (tmp_path / 'annotations.xml').write_text(CVAT.format(inner))
    for path in (tmp_path, tmp_path / 'annotations.xml'):
        _, splits = splits_of(path)
        assert splits == dict(train=['Train/a.jpg', 'Train/b.jpg'], val=['Validation/c.jpg'])


def test_a_subset_that_is_no_split_is_refused_by_name(tmp_path):
    inner = CVAT_IMAGE.format('a.jpg', 'Train') + CVAT_IMAGE.format('b.jpg', 'Summer')
    (tmp_path / 'annotations.xml').write_text(CVAT.format(inner))
    with pytest.raises(InputError, match="images in the subset 'Summer', which is none of Train"):
        read_fields(tmp_path)


def test_tasks_of_cvat_in_folders_are_joined(tmp_path):
    for task in ('one', 'two'):
        for name in ('a.jpg', 'b.jpg', 'c.jpg'):
            save_image(tmp_path / task / 'images' / name)
        inner = ''.join(CVAT_IMAGE.format(f'{name}.jpg', '') for name in 'abc')
        (tmp_path / task / 'annotations.xml').write_text(CVAT.format(inner))
    _, splits = splits_of(tmp_path)
    assert len(splits['train'] + splits['val']) == 6


@pytest.mark.parametrize('folder', ['', 'images'])
def test_an_export_of_label_studio_is_one_set(tmp_path, folder):
    names = [f'{name}.jpg' for name in 'abcde']
    for name in names:
        save_image(tmp_path / folder / name)
    write_label_studio(tmp_path / 'export.json', *names)
    for path in (tmp_path, tmp_path / 'export.json'):
        assert read_fields(path).notes[0] == 'read as Label Studio'
        _, splits = splits_of(path)
        assert len(splits['train']) == 4


def test_a_dataset_yaml_names_them_as_annotations(tmp_path):
    write_labelme(tmp_path / 'labelme', 'a')
    save_image(tmp_path / 'images/Val/b.jpg')
    inner = CVAT_IMAGE.format('b.jpg', 'Val') + CVAT_IMAGE.format('gone.jpg', 'Train')
    (tmp_path / 'annotations.xml').write_text(CVAT.format(inner))
    (tmp_path / 'dataset.yaml').write_text(
        'train: {annotations: labelme, images: labelme}\n'
        'val: {annotations: annotations.xml, images: images, subset: Val}\n'
    )
    data, splits = splits_of(tmp_path / 'dataset.yaml')
    assert splits == dict(train=['a.jpg'], val=['Val/b.jpg'])
    assert load_split(data, 'val').unreadable == []
