"""Where a classifier errs: what is taken for what, and the images it is most wrong about."""

from __future__ import annotations

from typing import Any

from casvit_mm.classification.evaluation.metric import ClassificationAccuracy, ClassifiedImage
from casvit_mm.datasets.sheets import TILES
from casvit_mm.plotting.confusion import describe_confusions

__all__ = ['summarise', 'worst_images']


def worst_images(metric: ClassificationAccuracy, number: int) -> list[ClassifiedImage]:
    """Return the images that were taken for a wrong class with the highest probability."""
    wrong = [image for image in metric.images if image.predicted != image.truth]
    return sorted(wrong, key=lambda image: -image.score)[:number]


def summarise(metric: ClassificationAccuracy, num_worst: int = TILES) -> dict[str, Any]:
    """Return what an evaluation found, as plain values.

    Keys: ``remarks`` (sentences on the most frequent confusions), ``classes`` (name: images,
    recall, precision, f1), ``confusion_matrix`` (``labels``, ``counts`` of images, row truth) and
    ``worst_images``. NaN where there is nothing to divide by.
    """
    names = metric.classes
    keys = ('images', 'recall', 'precision', 'f1')
    worst = [
        dict(
            img_path=image.path,
            truth=names[image.truth],
            truth_score=image.truth_score,
            predicted=names[image.predicted],
            score=image.score,
        )
        for image in worst_images(metric, num_worst)
    ]
    return dict(
        remarks=describe_confusions(metric.confusion_matrix, names, 'image'),
        classes={name: {key: metric.details[f'{key}/{name}'] for key in keys} for name in names},
        confusion_matrix=dict(labels=list(names), counts=metric.confusion_matrix.tolist()),
        worst_images=worst,
    )
