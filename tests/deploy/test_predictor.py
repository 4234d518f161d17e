"""An exported model as a function of images."""

import cv2
import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import CLASSES

from casvit_mm import InputError
from casvit_mm.deploy import Classification, Detections, load


def test_a_detection_lies_in_pixels_of_the_image(detector, photos):
    found = load(detector)(photos / '0.png')
    assert isinstance(found, Detections)
    assert found.masks.shape == (len(found.boxes), 90, 120)
    assert found.masks.dtype == bool
    assert len(found.scores) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (120, 90, 120, 90)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.names == tuple(CLASSES[label] for label in found.labels)


def test_a_higher_threshold_leaves_out_the_rest(detector, photos):
    every = load(detector)(photos / '0.png')
    limit = float(np.median(every.scores))
    some = load(detector, score_thr=limit)(photos / '0.png')
    np.testing.assert_array_equal(some.scores, every.scores[every.scores > limit])


def test_a_file_and_its_pixels_give_the_same(classifier, photos):
    predictor = load(classifier, threads=1)
    from_file = predictor(photos / '0.png')
    assert isinstance(from_file, Classification)
    assert set(from_file.names) == set(CLASSES)
    np.testing.assert_array_equal(
        from_file.scores, predictor(cv2.imread(str(photos / '0.png'))).scores
    )


def test_a_size_that_a_fixed_export_does_not_take_is_refused(classifier):
    with pytest.raises(InputError, match='fixed to 1 image of 128x128; got 1 of 96x64'):
        load(classifier).run(np.zeros((1, 3, 64, 96), np.uint8))


def test_a_batch_that_a_fixed_export_does_not_take_is_refused(classifier):
    with pytest.raises(InputError, match='fixed to 1 image of 128x128; got 2 of 128x128'):
        load(classifier).run(np.zeros((2, 3, 128, 128), np.uint8))


def test_an_array_of_another_form_than_a_batch_is_refused(classifier):
    with pytest.raises(InputError, match=r'shape \(B, 3, H, W\)'):
        load(classifier).run(np.zeros((128, 128, 3), np.uint8))


def test_a_threshold_below_that_of_the_export_is_refused(detector):
    with pytest.raises(InputError, match=r'score_thr must be from 0\.3'):
        load(detector, score_thr=0.1)


def test_an_unreadable_image_is_refused_by_name(classifier, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'a\.png \(8 bytes\) cannot be decoded'):
        load(classifier)(tmp_path / 'a.png')


def test_an_exported_file_reads_large_images_by_tiles(detector, photos):
    path = next(iter(sorted(photos.glob('*.png'))))
    photo = cv2.imread(str(path))
    large = np.tile(photo, (3, 3, 1))
    model, plain = load(detector, tile=64, overlap=0.5), load(detector)
    found = model(large)
    assert found.size == found.masks.shape[1:] == large.shape[:2]
    assert len(found.boxes) > len(plain(large).boxes) > 0
    small = photo[:64, :64]
    np.testing.assert_array_equal(model(small).boxes, plain(small).boxes)


def test_a_classifier_takes_no_tiles(classifier):
    with pytest.raises(InputError, match='a class is one of the whole image'):
        load(classifier, tile=64)
