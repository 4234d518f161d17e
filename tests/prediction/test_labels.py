"""Predictions become files that labelling tools, and our own readers, take back."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('pycocotools')

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.labelme import read_labelme
from casvit_mm.deploy.results import Classification, Detections, Segmentation
from casvit_mm.prediction.labels import LabelFiles, labels_of, write_labels

CLASSES = ('car', 'dog')


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photos/a.png'
    path.parent.mkdir()
    Image.new('RGB', (80, 40)).save(path)
    return path


def detections(photo, **more):
    return Detections(
        np.array([[8, 4, 24, 20]], np.float32),
        np.array([0.5], np.float32),
        np.array([1]),
        ('dog',),
        classes=CLASSES,
        size=(40, 80),
        source=photo,
        **more,
    )


def test_boxes_come_back_from_labelme(photo, tmp_path):
    out = write_labels([detections(photo)], 'labelme', tmp_path / 'out')
    assert (out / 'train/a.png').is_symlink()
    found = read_labelme(SourceFiles(out, out))
    (entry,) = found.content()['annotations']
    assert (entry['bbox'], found.unreadable) == ([8, 4, 16, 16], [])


def test_classes_of_the_model_are_those_of_yolo(photo, tmp_path):
    out = write_labels([detections(photo)], 'yolo', tmp_path / 'out')
    assert (out / 'labels/train/a.txt').read_text() == '1 0.2 0.3 0.2 0.4\n'
    assert 'names:\n  0: car\n  1: dog' in (out / 'data.yaml').read_text()


def test_masks_of_a_segmentor_are_brush_masks_of_the_classes_that_occur(photo, tmp_path):
    labels = np.zeros((40, 80), np.uint8)
    labels[:20] = 1
    result = Segmentation(labels, classes=CLASSES, size=(40, 80), source=photo)
    out = write_labels([result], 'label-studio', tmp_path / 'out')
    (task,) = json.loads((out / 'train.json').read_text())
    results = task['predictions'][0]['result']
    assert [r['value']['brushlabels'] for r in results] == [['car'], ['dog']]


def test_a_class_of_an_image_is_a_choice_with_its_score(photo, tmp_path):
    result = Classification(
        np.array([0.75, 0.25]),
        np.array([1, 0]),
        ('dog', 'car'),
        classes=CLASSES,
        size=(40, 80),
        source=photo,
    )
    out = write_labels([result], 'label-studio', tmp_path / 'out')
    (task,) = json.loads((out / 'train.json').read_text())
    (choice,) = task['predictions'][0]['result']
    assert (choice['value'], choice['score']) == (dict(choices=['dog']), 0.75)
    with pytest.raises(InputError, match='nothing of the class of an image'):
        write_labels([result], 'coco', tmp_path / 'other')


def test_what_is_no_image_file_is_refused_or_counted(photo, tmp_path):
    pixels = detections(np.zeros((40, 80, 3), np.uint8))
    with pytest.raises(InputError, match='call the model with paths'):
        write_labels([pixels], 'yolo', tmp_path / 'out')
    with pytest.raises(InputError, match='there is no prediction'):
        write_labels([], 'yolo', tmp_path / 'out')
    files = LabelFiles('detection', CLASSES, 'yolo', tmp_path / 'out')
    files.add(photo, 'sub/a.png', labels_of(detections(photo)))
    files.leave_out(1)
    told = files.finish()
    assert told[0] == f'for YOLO: {tmp_path / "out/data.yaml"}'
    assert any('1 predictions on frames and addresses' in line for line in told)
