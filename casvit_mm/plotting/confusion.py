"""Confusion matrices of detected objects, labelled pixels or images: as sentences and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from casvit_mm.errors import plain_name
from casvit_mm.plotting.figures import matrix_figure, save_figure

__all__ = ['describe_confusions', 'draw_confusion_matrix']

_MAX_CLASSES = 80  # rows of a confusion matrix that a reader can still tell apart
_MAX_SENTENCES = 5


def describe_confusions(matrix: np.ndarray, classes: Sequence[str], unit: str) -> list[str]:
    """Return a sentence on each of the most frequent confusions.

    Args:
        matrix: Counts, ``(C, C)``, row truth, column prediction.
        classes: Class names.
        unit: What is counted, in the singular: ``'pixel'`` or ``'image'``.
    """
    wrong = _off_diagonal(matrix)
    sentences = []
    for flat in np.argsort(-wrong, axis=None, kind='stable')[:_MAX_SENTENCES]:
        row, column = divmod(int(flat), len(classes))
        if wrong[row, column]:
            truth, found = plain_name(classes[row]), plain_name(classes[column])
            sentences.append(
                f'{truth} taken for {found}: '
                f'{wrong[row, column] / matrix[row].sum():.1%} of the {unit}s of {truth}, '
                f'{wrong[row, column] / wrong.sum():.1%} of all wrong {unit}s.'
            )
    return sentences or [f'No {unit} is wrong.']


def draw_confusion_matrix(
    matrix: np.ndarray, classes: Sequence[str], out: Path, title: str
) -> Path:
    """Draw what the objects, pixels or images of each class were taken for.

    Colours show shares of the row. The cells hold percent of the row, or counts where there is a
    background, whose row has no total. Of more than 80 classes the 80 that are most often confused
    are drawn, and the background.

    Args:
        matrix: Counts, ``(C, C)``, row truth, column prediction; or ``(C + 1, C + 1)`` with the
            background last, for objects that are not found and for false alarms.
        classes: Names of the C classes.
        out: PNG file to write.
        title: Line above the matrix.

    Returns:
        ``out``.

    Raises:
        InputError: If the file cannot be written.
    """
    background = len(matrix) > len(classes)
    names = [*classes, 'background'] if background else list(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if len(classes) > _MAX_CLASSES:
        wrong = _off_diagonal(matrix)
        errors = (wrong.sum(0) + wrong.sum(1))[: len(classes)]
        kept = np.sort(np.argsort(-errors, kind='stable')[:_MAX_CLASSES])
        title += f'\n{_MAX_CLASSES} of {len(classes)} classes, those most often confused'
        kept = np.append(kept, np.arange(len(classes), len(matrix)))  # and the background
        names = [names[k] for k in kept]
        matrix, shares = (values[np.ix_(kept, kept)] for values in (matrix, shares))
    texts = _counts(matrix) if background else _percents(shares)
    figure, axis = matrix_figure(shares, texts, names, title)
    axis.set_xlabel('found as (background: not found)' if background else 'predicted as')
    axis.set_ylabel('truth (background: false alarm)' if background else 'truth')
    if background:
        _set_background_apart(axis, len(names) - 1.5)
    return save_figure(figure, out)


def _percents(shares: np.ndarray) -> np.ndarray:
    return np.array([[f'{100 * s:.0f}' if s >= 0.005 else '' for s in row] for row in shares])


def _counts(matrix: np.ndarray) -> np.ndarray:
    return np.array([[_short(count) if count else '' for count in row] for row in matrix])


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f'{count / 1000:.0f}k'


def _set_background_apart(axis: Axes, edge: float) -> None:
    """Draw lines before the last row and column, and strike out the cell that both share."""
    axis.axhline(edge, color='0.4', linewidth=1)
    axis.axvline(edge, color='0.4', linewidth=1)
    # Background taken for background counts nothing.
    axis.add_patch(Rectangle((edge, edge), 1, 1, facecolor='0.9', hatch='//', edgecolor='0.6'))


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix * ~np.eye(len(matrix), dtype=bool)
