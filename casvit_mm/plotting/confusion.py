"""What is taken for what: a matrix of labelled pixels or images in words and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from casvit_mm.plotting.figures import matrix_figure, save_figure

__all__ = ['describe_confusions', 'draw_confusion_matrix']

_MAX_CLASSES = 80  # rows of a confusion matrix that a reader can still tell apart
_MAX_REMARKS = 5


def describe_confusions(matrix: np.ndarray, classes: Sequence[str], unit: str) -> list[str]:
    """Return a sentence on each of the most frequent confusions.

    Args:
        matrix: Counts, ``(C, C)``, row truth, column prediction.
        classes: Names.
        unit: What is counted, in the singular: ``'pixel'`` or ``'image'``.
    """
    wrong = _off_diagonal(matrix)
    remarks = []
    for flat in np.argsort(-wrong, axis=None, kind='stable')[:_MAX_REMARKS]:
        row, column = divmod(int(flat), len(classes))
        if wrong[row, column]:
            remarks.append(
                f'{classes[row]} taken for {classes[column]}: '
                f'{wrong[row, column] / matrix[row].sum():.1%} of the {unit}s of {classes[row]}, '
                f'{wrong[row, column] / wrong.sum():.1%} of all wrong {unit}s.'
            )
    return remarks or [f'No {unit} is wrong.']


def draw_confusion_matrix(matrix: np.ndarray, classes: Sequence[str], out: Path, unit: str) -> Path:
    """Draw what the pixels or images of a class were taken for, in percent of the row.

    Of more than 80 classes the 80 that are most often confused are drawn.

    Args:
        matrix: Counts, ``(C, C)``, row truth, column prediction.
        classes: Names.
        out: PNG file to write.
        unit: What is counted, in the singular: ``'pixel'`` or ``'image'``.

    Returns:
        ``out``.

    Raises:
        InputError: If the file cannot be written.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    title = f'{unit.capitalize()}s of a class, in percent of its row'
    if len(classes) > _MAX_CLASSES:
        wrong = _off_diagonal(matrix)
        errors = wrong.sum(0) + wrong.sum(1)
        kept = np.sort(np.argsort(-errors, kind='stable')[:_MAX_CLASSES])
        title += f'\n{_MAX_CLASSES} of {len(classes)} classes, those most often confused'
        share, classes = share[np.ix_(kept, kept)], [classes[k] for k in kept]
    texts = np.array([[f'{100 * s:.0f}' if s >= 0.005 else '' for s in row] for row in share])
    figure, axis = matrix_figure(share, texts, list(classes), title)
    axis.set_xlabel('predicted as')
    axis.set_ylabel('truth')
    return save_figure(figure, out)


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix * ~np.eye(len(matrix), dtype=bool)
