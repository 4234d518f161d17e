"""Confusion matrices, with and without a background."""

import numpy as np
import pytest
from helpers import slow_after
from matplotlib.figure import Figure
from PIL import Image

from casvit_mm.plotting.confusion import draw_confusion_matrix


@pytest.mark.parametrize('number', [1, 3, 150, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize('background', slow_after(1, [1, 0]))
def test_a_confusion_matrix_of_any_number_of_classes_can_be_drawn(number, background, tmp_path):
    names = [f'class {i}' for i in range(number)]
    matrix = np.eye(number + background, dtype=int) * 12345
    out = draw_confusion_matrix(matrix, names, tmp_path / 'm.png', 'title')
    assert 300 < max(Image.open(out).size) < 4000


@pytest.mark.parametrize('background', [0, 1])
def test_of_many_classes_the_most_often_confused_are_drawn(background, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'casvit_mm.plotting.confusion.matrix_figure',
        lambda shares, texts, names, title: drawn.append((shares, texts, names)) or _nothing(),
    )
    monkeypatch.setattr('casvit_mm.plotting.confusion.save_figure', lambda figure, out: out)
    names = [f'class {i}' for i in range(90)]
    matrix = np.eye(90 + background, dtype=int) * 3
    matrix[70, 80] = 1
    draw_confusion_matrix(matrix, names, tmp_path / 'm.png', 'title')
    ((shares, texts, kept),) = drawn
    assert len(kept) == 80 + background
    assert {'class 70', 'class 80'} <= set(kept)
    row, column = kept.index('class 70'), kept.index('class 80')
    assert shares[row, column] == 0.25
    assert texts[row, column] == ('1' if background else '25')
    assert (kept[-1] == 'background') == bool(background)


def _nothing():
    figure = Figure()
    return figure, figure.add_subplot()
