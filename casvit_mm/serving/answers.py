"""A prediction as the answer to a request: JSON, a picture, or the labels of a segmentor."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np

from casvit_mm.deploy.masks import crop_of, encode_crop
from casvit_mm.deploy.results import Detections, Segmentation
from casvit_mm.deploy.rle import encode_mask
from casvit_mm.serving.worker import Predicted

__all__ = ['OUTPUTS', 'encode_answer']

OUTPUTS = {'json': 'application/json', 'picture': 'image/png', 'labels': 'image/png'}


def encode_answer(predicted: Predicted, output: str, score_thr: float | None) -> bytes:
    """Return the body of an answer.

    Args:
        predicted: What the model said.
        output: A key of :data:`OUTPUTS`; ``'labels'`` of a segmentor alone.
        score_thr: Minimum score of an object; None of another task.
    """
    result = predicted.result
    if isinstance(result, Detections) and score_thr is not None:
        result = result.select(result.scores >= score_thr)
    if output == 'json':
        return json.dumps(_content(result, predicted, score_thr), allow_nan=False).encode()
    pixels = result.labels if output == 'labels' else result.draw()
    return cv2.imencode('.png', pixels)[1].tobytes()


def _content(result: Any, predicted: Predicted, score_thr: float | None) -> dict[str, Any]:
    height, width = result.size
    about = dict(width=width, height=height, model_seconds=round(predicted.seconds, 4))
    if isinstance(result, Detections):
        about['score_thr'] = score_thr
        return dict(task='detection', **about, objects=_objects(result))
    if isinstance(result, Segmentation):
        return dict(task='segmentation', **about, classes=_segments(result))
    return dict(task='classification', **about, classes=result.rows())


def _objects(result: Detections) -> list[dict[str, Any]]:
    """Return class, label, score, bbox and, from a model with masks, segmentation of each object.

    ``bbox`` is x, y, width and height in pixels.
    """
    objects = []
    for i, (x1, y1, x2, y2) in enumerate(result.boxes.astype(float).tolist()):
        entry: dict[str, Any] = dict(
            label=int(result.labels[i]),
            score=round(float(result.scores[i]), 5),
            bbox=[round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        )
        if result.masks is not None:
            entry['segmentation'] = encode_crop(crop_of(result.masks, i), result.size)
        objects.append({'class': result.names[i], **entry})
    return objects


def _segments(result: Segmentation) -> list[dict[str, Any]]:
    """Return class, label, pixels, share and segmentation of each class that occurs."""
    return [
        {**row, 'segmentation': encode_mask(np.equal(result.labels, row['label']))}
        for row in result.rows()
    ]
