import pytest

from casvit_mm import InputError
from casvit_mm.classification.data.description import read_dataset

pytest.importorskip('mmpretrain')
from classification_data import SOURCES


def test_a_description_gives_sources_and_what_may_be_left_out(folder):
    data = read_dataset(folder / 'dataset.yaml')
    assert data.splits['test'][0].images == folder / 'test'
    assert (data.classes, data.split, data.first_label, data.skip_unreadable) == (None, None, 0, 0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('train: [', 'not YAML'),
        ('train: {images: a}', "lacks 'val', with the field images: a folder with one folder for"),
        ('train: []\nval: {images: a}', "'train' is an empty list"),
        ('train: {list: a}\nval: {images: a}', "'train' needs the fields images"),
        ('train: {images: a, lsit: b}\nval: {images: a}', "unknown field 'lsit'"),
        (SOURCES + 'ignroe: 3', "unknown field 'ignroe'"),
        (SOURCES + 'classes: 12', 'classes must be a list of names, like'),
        (SOURCES + 'classes: {cat: [a, b], dog: a}', "classes takes 'a' into two classes"),
        (SOURCES + 'classes: [cat]', "classes names 'cat' alone, .* nothing to tell apart"),
        (SOURCES + 'classes: [cat, cat]', "classes names 'cat' twice"),
        (SOURCES + 'classes: [on, off]', 'YAML takes a name under classes for True'),
        (SOURCES + 'first_label: -1', 'first_label must be the number'),
        (SOURCES + 'skip_unreadable: 1', 'skip_unreadable must be true or false'),
        (SOURCES + 'split: {val: 0.2}', 'data and split belong together'),
        (
            'train: {images: a, list: b, class_from: labels}\nval: {images: a}',
            "class_from must be one of folders, list, annotations, got 'labels'",
        ),
        (
            'train: {images: a, class_from: list}\nval: {images: a}',
            'class_from: list needs a text file under list:',
        ),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, text, message):
    (tmp_path / 'd.yaml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / 'd.yaml')
