"""What the images and classes of a dataset must be."""

import shutil

import pytest
from PIL import Image

from casvit_mm.datasets.shapes import CLASSES

pytest.importorskip('mmpretrain')
from classification_data import NAMES, SOURCES, first, prepare, refusal


@pytest.mark.parametrize('text', [SOURCES, 'data: {images: train}\nsplit: {val: 0.2}'])
def test_an_empty_class_folder_is_refused(folder, text):
    (folder / 'train/star').mkdir()
    message = refusal(folder, text)
    assert f'folder {folder / "train/star"} of train holds no image' in message
    assert "class 'star' cannot be learnt. Put images into it, or delete the folder" in message


def test_a_folder_that_is_no_listed_class_may_be_empty(folder):
    (folder / 'train/annotations').mkdir()
    assert len(prepare(folder, SOURCES + NAMES)['train'].images) == 6


def test_an_empty_class_folder_of_val_is_a_note(folder):
    shutil.rmtree(folder / 'val/circle')
    (folder / 'val/circle').mkdir()
    (note,) = prepare(folder)['val'].notes
    assert "so class 'circle' cannot be measured" in note


def test_a_class_without_images_in_val_is_a_note(folder):
    shutil.rmtree(folder / 'val/circle')
    val = prepare(folder)['val']
    assert val.notes == ("class 'circle' has no image in val; its accuracy is not measured",)
    assert val.counts.tolist() == [0, 2, 2]


def test_a_class_that_train_lacks_is_refused(folder):
    (folder / 'val/circle').rename(folder / 'val/Circle ')
    message = refusal(folder)
    assert "class 'Circle ' of val (2 image(s), first " in message
    assert 'has no image in train of' in message
    assert "(but 'circle': a difference in writing? Then join them under classes:, like " in message
    assert "{circle: [circle, 'Circle '], ...}), so it cannot be learnt" in message


def test_a_class_that_is_not_listed_is_refused(folder):
    message = refusal(folder, SOURCES + 'classes: [circle, square]')
    assert "class 'triangle' of train (2 image(s), first " in message
    assert 'is not under classes: of' in message
    assert "which names 'circle', 'square'. Add it there, or take its images away" in message


def test_a_listed_class_without_images_is_refused(folder):
    message = refusal(folder, SOURCES + 'classes: [circle, square, triangle, star]')
    assert "class 'star' has no image in train of" in message
    assert 'Add images, or take it from classes:.' in message


def test_one_class_is_refused(folder):
    for name in CLASSES[1:]:
        shutil.rmtree(folder / 'train' / name)
    message = refusal(folder, splits=('train',))
    assert "has images of one class only, 'circle': nothing to tell apart" in message


def test_images_in_two_splits_are_refused(folder):
    message = refusal(folder, 'train: {images: train}\nval: {images: train}')
    assert '6 image(s) are in train and in val' in message


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'it is empty (0 bytes)'),
        (b'no image', 'it is no image'),
        (0.6, 'truncated'),
        (0.999, 'its end is missing'),
    ],
)
def test_an_unreadable_image_is_refused_by_name(folder, content, message):
    whole = first(folder).read_bytes()
    cut = content if isinstance(content, bytes) else whole[: int(len(whole) * content)]
    first(folder).write_bytes(cut)
    refused = refusal(folder)
    assert f'image {first(folder)} cannot be read: ' in refused
    assert message in refused
    assert '(1 of 6 images of train cannot be read), or write skip_unreadable: true' in refused


def test_a_cut_jpeg_is_unreadable(folder):
    path = first(folder).with_suffix('.jpg')
    Image.open(first(folder)).resize((300, 300)).save(path)
    first(folder).unlink()
    whole = path.read_bytes()
    path.write_bytes(whole + b'\0' * 100)  # more behind the end is no damage
    prepare(folder)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert f'image {path} cannot be read: it is damaged or cut short (image file is' in refusal(
        folder
    )


def test_unreadable_images_are_left_out_and_counted_if_asked(folder):
    first(folder).write_bytes(b'no image')
    train = prepare(folder, SOURCES + 'skip_unreadable: true')['train']
    assert len(train.images) == 5
    assert train.counts.tolist() == [1, 2, 2]
    (note,) = train.notes
    assert f'image {first(folder)} cannot be read' in note
    assert '1 of 6 images of train are left out' in note


def test_a_class_whose_images_are_all_left_out_is_refused(folder):
    for path in (folder / 'train/circle').iterdir():
        path.write_bytes(b'no image')
    message = refusal(folder, SOURCES + 'skip_unreadable: true')
    assert "class 'circle' has no image that can be read in train" in message


def test_formats_beside_png_and_jpeg_are_learnt_refused_or_counted(folder):
    Image.open(first(folder)).save(folder / 'train/circle/photo.jfif', format='JPEG')
    (folder / 'train/circle/0000.psd').touch()
    train = prepare(folder)['train']
    assert train.counts.tolist() == [3, 2, 2]
    assert '1 file(s) of' in train.notes[0]
    assert '1 .psd' in train.notes[0]
    (folder / 'train/circle/phone.HEIC').touch()
    assert 'phone.HEIC cannot be read: .HEIC is a format that training does not' in refusal(folder)


def test_images_beside_the_class_folders_are_named(folder):
    shutil.copy(first(folder), folder / 'train/stray.png')
    train = prepare(folder)['train']
    (note,) = train.notes
    assert f'{folder / "train/stray.png"} lies beside the folders of the classes' in note
    assert len(train.images) == 6


def test_folders_of_splits_are_not_taken_for_classes_without_a_word(folder):
    (folder / 'all').mkdir()
    for name in ('train', 'val'):
        shutil.copytree(folder / name, folder / 'all' / name)
    prepared = prepare(folder, 'data: {images: all}\nsplit: {val: 0.3}')
    assert prepared['train'].classes == ('train', 'val')
    (note,) = [text for text in prepared['train'].notes if 'the classes are called' in text]
    assert 'train: {images: .../train}, val: {images: .../val}' in note


def test_classes_that_differ_in_case_only_are_named(folder):
    for name in ('train', 'val'):
        (folder / name / 'square').rename(folder / name / 'Circle')
    (note,) = prepare(folder)['train'].notes
    assert "classes 'Circle' and 'circle' differ in case or blanks only" in note
    assert 'join them under classes:, like {Circle: [Circle, circle], ...}' in note


def test_classes_that_are_joined_are_one(folder):
    for name in ('train', 'val'):
        (folder / name / 'square').rename(folder / name / 'Circle')
    shutil.rmtree(folder / 'val/Circle')
    (folder / 'val/Circle').mkdir()
    text = SOURCES + 'classes: {triangle: triangle, circle: [circle, Circle]}'
    prepared = prepare(folder, text)
    assert prepared['train'].classes == ('triangle', 'circle')
    assert prepared['train'].counts.tolist() == [2, 4]
    assert prepared['val'].counts.tolist() == [2, 2]
    assert prepared['val'].notes == ()
