"""What a classifier predicts for each image, as a file."""

from __future__ import annotations

import json
from pathlib import Path

from casvit_mm.classification.evaluation.metric import ClassificationAccuracy
from casvit_mm.io import replacing

__all__ = ['write_predictions']


def write_predictions(path: str | Path, metric: ClassificationAccuracy) -> None:
    """Write a JSON list with an image per line, in the order of the dataset.

    Each has ``img_path``, ``truth`` (null where there is none), ``predicted``, ``score``
    (probability of ``predicted``), and ``top``: the most probable classes with their scores.

    Args:
        path: The file.
        metric: After an evaluation, on rank 0.

    Raises:
        InputError: If the file cannot be written; the old one is then as it was.
    """
    names = metric.classes
    lines = []
    for image in metric.images:
        top = zip(image.best, image.scores, strict=True)
        record = dict(
            img_path=image.path,
            truth=None if image.truth < 0 else names[image.truth],
            predicted=names[image.predicted],
            score=image.score,
            top=[{'class': names[label], 'score': score} for label, score in top],
        )
        lines.append(json.dumps(record))
    with replacing(path) as file:
        file.write('[\n' + ',\n'.join(lines) + '\n]\n')
