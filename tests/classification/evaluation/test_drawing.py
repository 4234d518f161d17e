import numpy as np
import pytest

pytest.importorskip('mmpretrain')
from casvit_mm.classification.evaluation.drawing import draw_classified

CLASSES = tuple('abcdefgh')
GREEN, RED, GREY = (90, 180, 70), (70, 90, 225), (130, 130, 130)  # BGR


def has(picture, colour):
    return bool((picture == colour).all(axis=2).any())


def draw(scores, truth, shape=(30, 40, 3)):
    return draw_classified(np.zeros(shape, np.uint8), np.array(scores), truth, CLASSES, 'a.png')


@pytest.mark.parametrize(
    ('truth', 'expected'),
    [(0, (True, False)), (1, (True, True)), (7, (True, True)), (None, (False, False))],
)
def test_the_true_class_is_green_and_a_wrong_one_red(truth, expected):
    picture = draw([0.5, 0.2, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03], truth)
    assert (has(picture, GREEN), has(picture, RED)) == expected
    assert has(picture, GREY)


@pytest.mark.parametrize('shape', [(3000, 2, 3), (2, 3000, 3), (1, 1, 3), (900, 1200, 3)])
def test_images_of_any_shape_fit(shape):
    picture = draw([1.0] + [0.0] * 7, 0, shape)
    assert picture.shape[0] == 464
    assert picture.shape[1] < 1800


def test_scores_that_are_no_numbers_are_left_to_the_metric():
    assert draw([float('nan')] * 8, 2).shape[0] == 464
