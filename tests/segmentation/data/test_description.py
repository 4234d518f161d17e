import pytest

from casvit_mm import InputError
from casvit_mm.datasets.shapes import CLASSES
from casvit_mm.deploy.canvas import distinct_colours
from casvit_mm.segmentation.data.description import read_dataset

pytest.importorskip('mmseg')
from segmentation_data import NAMES, SOURCES


def test_a_description_gives_sources_classes_colours_and_ignored_values(folder):
    data = read_dataset(folder / 'dataset.yaml')
    assert data.classes == ('ground', *CLASSES)
    assert data.palette[1] == (230, 70, 60)
    assert data.ignore == {255}
    assert not data.reduce_zero_label
    assert data.splits['test'][0].labels == folder / 'test_labels'


def test_colours_may_be_written_as_in_html_or_left_out(tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text(SOURCES + "classes: {sky: '#4682b4', road: purple}")
    assert read_dataset(path).palette == ((70, 130, 180), (128, 0, 128))
    path.write_text(SOURCES + NAMES)
    assert read_dataset(path).palette == distinct_colours(4)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('train: [', 'not YAML'),
        (SOURCES + NAMES + NAMES, r"line \d+: 'classes' stands twice"),
        (SOURCES + 'classes: {sky: red, sky: blue}', "'sky' stands twice"),
        (SOURCES + NAMES + 'ignroe: 3', "unknown field 'ignroe'"),
        ('train: {images: a, labels: b}\n' + NAMES, "lacks 'val', with the fields images and"),
        ('train: []\nval: {images: a, labels: b}\n' + NAMES, "'train' is an empty list"),
        ('train: {labels: b}\n' + NAMES, "'train' needs the fields images and labels"),
        ('train: {images: a, labels: b, mask: c}\n' + NAMES, "unknown field 'mask'"),
        (
            'train: {images: a, labels: b, label_suffix: .jpg}\n' + NAMES,
            "label_suffix '.jpg' names JPEG files",
        ),
        (
            'train: {images: a, labels: b, label_suffix: _labelTrainIds}\n' + NAMES,
            r"label_suffix '_labelTrainIds' must be what file names end with",
        ),
        (SOURCES, 'classes must list the names'),
        (SOURCES + 'classes: 12', 'classes must list the names'),
        (SOURCES + 'classes: [sky, sky]', "classes names 'sky' twice"),
        (SOURCES + 'classes: [crack]', r'nothing to tell apart. .* like \[ground, crack\]'),
        (SOURCES + 'classes: [on, off]', 'YAML takes a name under classes for True'),
        (SOURCES + f'classes: {[f"c{i}" for i in range(256)]}', 'lists 256 names, .* at most 255'),
        (
            SOURCES + f'reduce_zero_label: true\nclasses: {[f"c{i}" for i in range(255)]}',
            'at most 254: values 1 to 254',
        ),
        (SOURCES + 'classes: {sky: [1, 2], road: red}', r"gives 'sky' the colour \[1, 2\]"),
        (SOURCES + 'classes: {sky: #4682b4\n, road: red}', "'#4682b4' in quotation marks"),
        (SOURCES + NAMES + 'ignore: 256', 'ignore must be a label value from 0 to 255'),
        (SOURCES + NAMES + 'ignore: [255, void]', 'ignore must be a label value'),
        (SOURCES + "classes: {sky: 1, road: '#000000'}", "gives 'sky' the colour 1"),
        (SOURCES + 'classes: {sky: 1, road: [2, x]}', r"gives 'road' the value \[2, 'x'\]"),
        (SOURCES + 'classes: {sky: 1, road: 65536}', 'from 0 to 65535'),
        (SOURCES + 'classes: {sky: 1, road: [2, 1]}', "the value 1 to 'sky' and to 'road'"),
        (
            SOURCES + 'classes: {sky: 1, road: 255}\nignore: 255',
            "255 is class 'road' and under ign",
        ),
        (SOURCES + 'classes: {sky: 1, road: 2}\nreduce_zero_label: true', 'Leave it out'),
        (SOURCES + "classes: {sky: red, road: blue}\nignore: 'f00'", "ignore has the colour 'f00'"),
        (
            SOURCES + "classes: {sky: red, road: blue}\nignore: '#f00'",
            'is a class and under ignore',
        ),
        (SOURCES + NAMES + 'reduce_zero_label: 1', 'must be true or false'),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, text, message):
    (tmp_path / 'd.yaml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / 'd.yaml')


def test_values_under_classes_become_positions(tmp_path):
    (tmp_path / 'd.yaml').write_text(SOURCES + 'classes: {ground: 0, cell: [1, 2, 3]}\nignore: 9')
    assert read_dataset(tmp_path / 'd.yaml').values == {0: 0, 1: 1, 2: 1, 3: 1, 9: 255, 255: 255}


def test_three_numbers_for_every_class_are_colours(tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text(SOURCES + "classes: {sky: [0, 0, 1], road: [1, 2, 3]}\nignore: [7, '#ffffff']")
    data = read_dataset(path)
    assert data.values is None
    assert data.ignore == {7, 255}
    assert data.colours == {(0, 0, 1): 0, (1, 2, 3): 1, (255, 255, 255): 255}
    path.write_text(SOURCES + 'classes: {sky: [0, 0, 1, 1], road: [4, 2, 3]}')
    assert read_dataset(path).values == {0: 0, 1: 0, 4: 1, 2: 1, 3: 1, 255: 255}
