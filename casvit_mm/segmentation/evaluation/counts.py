"""Pixels counted by class in truth and prediction, and what follows from the counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from casvit_mm.errors import InputError

__all__ = ['ImageCounts', 'class_rates', 'count_pixels', 'mean_known']


@dataclass(frozen=True)
class ImageCounts:
    """The pixels of one image, counted by class in truth and prediction.

    Attributes:
        path: The image.
        cells: Positions in the flattened confusion matrix that are not zero, int64 ``(n,)``.
        counts: Pixels at each of these positions, int64 ``(n,)``.
        error: Why the image could not be evaluated; empty if it could.
        unwritten: Why the mask of this or an earlier image could not be written; empty if it could.
        labelled: Whether there is a truth.
    """

    path: str
    cells: np.ndarray
    counts: np.ndarray
    error: str = ''
    unwritten: str = ''
    labelled: bool = True

    def matrix(self, num_classes: int) -> np.ndarray:
        """Return the confusion matrix, int64 ``(C, C)``, rows truth."""
        flat = np.zeros(num_classes**2, np.int64)
        flat[self.cells] = self.counts
        return flat.reshape(num_classes, num_classes)


def count_pixels(
    truth: torch.Tensor, prediction: torch.Tensor, num_classes: int, ignore_index: int
) -> torch.Tensor:
    """Return the confusion matrix of an image, int64 ``(C, C)``, row truth, column prediction.

    Args:
        truth: Class numbers, int64 ``(H, W)``.
        prediction: The same.
        num_classes: C.
        ignore_index: Label of the pixels that are not evaluated.

    Raises:
        InputError: If the two differ in size or hold a number that is no class.
    """
    if truth.shape != prediction.shape:
        sizes = ['x'.join(map(str, reversed(labels.shape))) for labels in (truth, prediction)]
        raise InputError(f'the truth has {sizes[0]} pixels, the image {sizes[1]}')
    known = truth != ignore_index
    truth, prediction = truth[known], prediction[known]
    for labels, whose in ((truth, 'truth'), (prediction, 'prediction')):
        if labels.numel() and labels.amax() >= num_classes:
            raise InputError(
                f'the {whose} has pixels of class {int(labels.amax())}, but there are only '
                f'{num_classes} classes, counted from 0 ({ignore_index} is ignored)'
            )
    counts = torch.bincount(truth * num_classes + prediction, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def class_rates(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return IoU and accuracy of each class, ``(C,)``; NaN for 0 / 0.

    Args:
        matrix: Pixels, int64 ``(C, C)``, row truth, column prediction.
    """
    right, truth = matrix.diagonal(), matrix.sum(1)
    return _ratio(right, truth + matrix.sum(0) - right), _ratio(right, truth)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def mean_known(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN, NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float('nan')
