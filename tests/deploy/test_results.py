"""What a prediction can be turned into, for every task."""

import csv
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy import Classification, Detections, Segmentation, to_coco

CLASSES = ('cat', 'dog, big', 'ünïcode')
TASKS = ('detection', 'segmentation', 'classification')


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.jpg'
    cv2.imwrite(str(path), np.full((48, 64, 3), 120, np.uint8))
    return path


@pytest.fixture
def results(photo):
    """A prediction of each task for one photo of 64 x 48 pixels."""
    common = dict(classes=CLASSES, size=(48, 64), source=photo)
    masks = np.zeros((2, 48, 64), bool)
    masks[0, 10:20, 5:15], masks[1, 30:40, 20:30] = True, True
    labels = np.zeros((48, 64), np.uint8)
    labels[:12] = 2
    return dict(
        detection=Detections(
            np.array([[5, 10, 15, 20], [20, 30, 30, 40.5]], np.float32),
            np.array([0.9, 0.4], np.float32),
            np.array([1, 2]),
            CLASSES[1:],
            masks,
            **common,
        ),
        segmentation=Segmentation(labels, **common),
        classification=Classification(
            np.array([0.7, 0.2, 0.1], np.float32),
            np.array([2, 0, 1]),
            (CLASSES[2], CLASSES[0], CLASSES[1]),
            **common,
        ),
    )


def test_rows_say_what_was_found(results):
    first = {task: result.rows()[0] for task, result in results.items()}
    assert first['detection'] | dict(score=0) == {
        **{'class': 'dog, big', 'label': 1, 'score': 0},
        **dict(left=5, top=10, right=15, bottom=20),
    }
    assert first['segmentation'] == {'class': 'cat', 'label': 0, 'pixels': 36 * 64, 'share': 0.75}
    assert first['classification']['class'] == 'ünïcode'


def test_pictures_have_a_line_below_and_leave_the_image_as_it_is(results, photo):
    before = photo.read_bytes()
    for result in results.values():
        picture = result.draw()
        assert picture.shape[1] == 640
        assert picture.shape[0] > 480
        np.testing.assert_array_equal(picture, result.draw(result.image))
    assert photo.read_bytes() == before


def test_a_picture_without_any_object_says_so(results):
    none = results['detection'].__class__(
        np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, int), (), classes=CLASSES
    )
    assert none.draw(np.zeros((9, 9, 3), np.uint8)).any()


def test_files_go_by_the_name_of_the_image(results, tmp_path):
    written = {task: result.save(tmp_path / task) for task, result in results.items()}
    names = {task: [path.name for path in paths] for task, paths in written.items()}
    assert names == dict(
        detection=['photo.png', 'photo.json'],
        segmentation=['photo.png', 'photo.labels.png'],
        classification=['photo.png', 'photo.csv'],
    )
    assert json.loads(written['detection'][1].read_text()) == results['detection'].to_coco()
    labels = cv2.imread(str(written['segmentation'][1]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, results['segmentation'].labels)
    with written['classification'][1].open() as file:
        assert [row['class'] for row in csv.DictReader(file)] == ['ünïcode', 'cat', 'dog, big']


def test_the_image_itself_is_never_replaced(results, tmp_path):
    path = tmp_path / 'photo.png'
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    result = results['segmentation'].__class__(
        results['segmentation'].labels, classes=CLASSES, source=path
    )
    with pytest.raises(InputError, match=r'photo\.png is the image itself'):
        result.save(tmp_path)


def test_coco_content_is_read_back_by_pycocotools(results, tmp_path):
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO

    content = to_coco([results['detection'], results['detection']])
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(content))
    coco = COCO(str(path))
    assert sorted(coco.imgs) == [1, 2]
    assert [c['name'] for c in content['categories']] == list(CLASSES)
    found = coco.loadAnns(coco.getAnnIds(imgIds=2))
    assert [a['category_id'] for a in found] == [2, 3]
    assert found[0]['bbox'] == [5, 10, 10, 10]
    np.testing.assert_array_equal(coco.annToMask(found[0]), results['detection'].masks[0])
    (ground, other) = results['segmentation'].to_coco()['annotations']
    assert (ground['category_id'], ground['area'], ground['bbox']) == (1, 2304, [0, 12, 64, 36])
    assert other['category_id'] == 3
    (label,) = results['classification'].to_coco()['annotations']
    assert label['category_id'] == 3
    assert 'bbox' not in label


@pytest.mark.parametrize('package', ['pandas', 'supervision'])
@pytest.mark.parametrize('task', TASKS)
def test_a_missing_package_is_told_with_its_command(results, monkeypatch, package, task):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        'casvit_mm.deploy.base.find_spec', lambda name: None if name == package else find(name)
    )
    with pytest.raises(InputError, match=f'not installed: pip install {package}'):
        getattr(results[task], f'to_{package}')()


@pytest.mark.parametrize('task', TASKS)
def test_pandas_has_the_rows(results, task):
    pytest.importorskip('pandas')
    assert results[task].to_pandas().to_dict('records') == results[task].rows()


def test_supervision_takes_the_results(results):
    supervision = pytest.importorskip('supervision')
    found = results['detection'].to_supervision()
    assert isinstance(found, supervision.Detections)
    assert list(found['class_name']) == list(CLASSES[1:])
    assert found.mask.shape == (2, 48, 64)
    assert list(results['segmentation'].to_supervision().class_id) == [0, 2]
    assert list(results['classification'].to_supervision().class_id) == [2, 0, 1]


def test_a_prediction_of_pixels_is_saved_as_image(results, tmp_path):
    result = Detections(
        *(getattr(results['detection'], name) for name in ('boxes', 'scores', 'labels', 'names')),
        classes=CLASSES,
        size=(48, 64),
        source=np.zeros((48, 64, 3), np.uint8),
    )
    assert [Path(p).name for p in result.save(tmp_path)] == ['image.png', 'image.json']
