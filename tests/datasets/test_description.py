"""Which task a description is for."""

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')

from casvit_mm import InputError
from casvit_mm.classification.data import description as classification
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.shapes import generate_shape_classes, generate_shape_labels
from casvit_mm.detection.data import description as detection
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.segmentation.data import description as segmentation


@pytest.fixture
def masks(tmp_path):
    """Description of generated segmentation masks."""
    return generate_shape_labels(tmp_path / 'masks', sizes=(1, 1, 1), side=32)


@pytest.fixture
def folders(tmp_path):
    """Description of generated image folders."""
    return generate_shape_classes(tmp_path / 'folders', sizes=(3, 3, 3), side=32)


def test_the_task_follows_from_the_sources(masks, shapes, tmp_path):
    assert described_task(masks) == 'segmentation'
    assert described_task(shapes) == 'detection'
    path = tmp_path / 'both.yaml'
    path.write_text('train: [{labels: a, images: b}, {annotations: a, images: b}]')
    with pytest.raises(InputError, match='describe each in a file of its own'):
        described_task(path)


def test_data_of_the_other_task_is_refused_by_name(masks, folders):
    with pytest.raises(InputError, match='describes segmentation data: its sources name labels:'):
        detection.read_dataset(masks)
    with pytest.raises(InputError, match=r'describes classification data'):
        segmentation.read_dataset(folders)


def test_images_without_annotations_and_labels_are_for_classification(folders):
    assert described_task(folders) == 'classification'


def test_a_detection_user_who_forgot_annotations_is_told_so(folders):
    message = (
        'describes classification data: its sources name images: alone. '
        'Detection needs annotations:. Add annotations: to every source'
    )
    with pytest.raises(InputError, match=message):
        detection.read_dataset(folders)
    with pytest.raises(InputError, match=r'Segmentation needs labels:\. Add labels: to every'):
        segmentation.read_dataset(folders)


def test_one_source_without_annotations_does_not_change_the_task(tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text('train: {images: a, annotations: b}\nval: {images: a}')
    assert described_task(path) == 'detection'
    with pytest.raises(InputError, match="'val' needs the fields annotations and images"):
        detection.read_dataset(path)


def test_data_of_another_task_is_refused_by_name(shapes):
    with pytest.raises(InputError, match=r'Classification needs images: alone\. Use a detection'):
        classification.read_dataset(shapes)


def test_a_description_without_a_source_is_refused_with_the_fields_of_each_task(tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text('classes: [cat, dog]')
    assert described_task(path) is None
    with pytest.raises(InputError, match=r'names no source .* \(detection\), .* \(segmentation\)'):
        check_dataset(path, tmp_path / 'out')


@pytest.mark.parametrize('value', ['', '[a, b]', 'yes', '2024-01-01'])
def test_folders_are_text(value, tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text(f'train: {{images: a}}\nval: {{images: {value or "null"}}}')
    with pytest.raises(InputError, match="'val', images must be text"):
        classification.read_dataset(path)


@pytest.mark.parametrize('value', ['a' * 256, 'é' * 128, 'a/' * 1500])
def test_no_file_system_has_longer_names(value, tmp_path):
    path = tmp_path / 'd.yaml'
    for text in (f'images: {value}', f'images: a, list: {value}'):
        path.write_text(f'train: {{images: a}}\nval: {{{text}}}')
        with pytest.raises(InputError, match=r"'val', .* is too long for a path: '(a|é)"):
            classification.read_dataset(path)


@pytest.mark.parametrize('split', ['val: 0.2', 'folds: 3'])
@pytest.mark.parametrize(
    ('group', 'message'),
    [
        ("'('", 'is no regular expression'),
        ("'.+'", 'has 0 groups in brackets, and one is needed'),
        ("'(a)(b)'", 'has 2 groups in brackets'),
        ('3', 'is no regular expression'),
    ],
)
def test_a_group_that_names_nothing_is_refused(tmp_path, split, group, message):
    path = tmp_path / 'dataset.yaml'
    path.write_text(f'data: {{images: i}}\nsplit: {{{split}, group: {group}}}\n')
    with pytest.raises(InputError, match=f'split: group: .*{message}.*Write folder, or'):
        classification.read_dataset(path)
