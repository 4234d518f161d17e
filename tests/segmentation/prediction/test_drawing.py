"""Pictures of a segmentation, from its masks."""

import numpy as np
import pytest

pytest.importorskip('mmseg')
from casvit_mm import InputError
from casvit_mm.segmentation.prediction import drawing
from casvit_mm.segmentation.prediction.drawing import draw_segmentation

CLASSES = ('road', 'tree', 'car')


PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


@pytest.fixture
def texts(monkeypatch):
    """Every text that is drawn, with its box on the canvas and the canvas's size."""
    drawn = []
    original = drawing.ImageDraw.ImageDraw.text

    def text(pen, where, what, font, **options):
        box = pen.textbbox(where, what, font=font, anchor=options['anchor'])
        drawn.append((what, box, pen.im.size))
        original(pen, where, what, font=font, **options)

    monkeypatch.setattr(drawing.ImageDraw.ImageDraw, 'text', text)
    return drawn


def draw(truth, prediction, classes=CLASSES, palette=PALETTE, side=400):
    """A picture of label maps of a few pixels, enlarged to ``side``."""
    truth, prediction = (
        np.kron(m, np.ones((side // 4, side // 4), int)) for m in (truth, prediction)
    )
    image = np.full((*truth.shape, 3), 128, np.uint8)
    return draw_segmentation(image, truth, prediction, classes, 'a/b', palette)


FOUR = np.array([[0, 0, 1, 1]] * 4)


def hue(pixel):
    """Which of red, green and blue a BGR pixel has most of."""
    return 'bgr'[int(np.argmax(pixel))] if np.ptp(pixel) > 50 else 'grey'


def test_truth_and_prediction_stand_beside_the_image_in_the_colours_of_the_palette():
    picture = draw(FOUR, FOUR.T)
    # Panels of 400 pixels, 8 apart, below two lines of text.
    middle = picture[60 + 300]
    assert [hue(middle[8 + x]) for x in (100, 300)] == ['grey', 'grey']
    assert [hue(middle[8 + 408 + x]) for x in (100, 300)] == ['r', 'g']
    assert [hue(middle[8 + 816 + x]) for x in (100, 300)] == ['g', 'g']


def test_the_legend_tells_the_classes_that_occur_in_either_and_their_iou(texts):
    draw(np.zeros((4, 4), int), FOUR)
    legend = [what for what, _, _ in texts if ':' in what and 'prediction' not in what]
    assert legend == ['road: 0.50', 'tree: 0.00']
    assert any('mIoU 0.250, 50.0% of the pixels right' in what for what, _, _ in texts)


def test_ignored_pixels_are_striped_and_named(texts):
    picture = draw(np.full((4, 4), 255), FOUR)
    panel = picture[68:460, 424:816]
    assert {tuple(colour) for colour in panel.reshape(-1, 3)} == {(60,) * 3, (210,) * 3}
    legend = [what for what, _, _ in texts]
    assert 'ignored' in legend
    assert 'road: -' in legend


@pytest.mark.parametrize(('number', 'length'), [(2, 300), (150, 20), (150, 70)])
@pytest.mark.parametrize('shape', [(16, 16), (4, 100), (60, 3)])
def test_no_text_is_cut_or_lies_over_another(texts, number, length, shape):
    names = [f'{k} '.ljust(length, 'w') for k in range(number)]
    labels = np.arange(shape[0] * shape[1]).reshape(shape) % number
    draw_segmentation(np.zeros((*shape, 3), np.uint8), labels, labels, names, 'x' * 200)
    boxes = np.array([box for _, box, _ in texts])
    width, height = texts[0][2]
    assert len(boxes) == 5 + number
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= width
    assert boxes[:, 3].max() <= height
    left, top, right, bottom = boxes.T[..., None]
    meet = (left < right.T) & (right > left.T) & (top < bottom.T) & (bottom > top.T)
    assert meet.sum() == len(boxes)  # each meets itself


def test_a_large_image_is_reduced_and_a_small_one_enlarged_by_a_whole_factor():
    for side, panel in ((1000, 1000), (3200, 1600), (150, 450)):
        labels = np.zeros((side // 2, side), np.uint8)
        picture = draw_segmentation(
            np.zeros((side // 2, side, 3), np.uint8), labels, labels, 'a', ''
        )
        assert 3 * panel < picture.shape[1] < 3 * panel + 100


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(InputError, match='the truth has 2x1 pixels, the image 1x2'):
        draw_segmentation(
            np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2)), np.zeros((2, 1)), 'a', ''
        )
