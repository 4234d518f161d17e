"""The maps of a dense head as boxes, scores and classes: mmdet's decoding in NumPy.

In the shapes below ``a`` is the number of anchors, or points, of a position, ``K`` of classes, and
``P`` of the places of a level, ``a * h * w``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError

__all__ = ['Candidates', 'Outputs', 'find_candidates']

Outputs = dict[str, np.ndarray]
_MAX_LOG_SCALE = abs(math.log(16 / 1000))  # by which a box may grow or shrink, as in mmdet
_SLACK = 1e-3  # of a logit, for what rounding does to its sigmoid


class Candidates(NamedTuple):
    """Possible objects of an image, level after level, the best one of a level first.

    Attributes:
        boxes: Left, top, right and bottom in pixels of the input, float32 ``(N, 4)``.
        scores: From 0 to 1, float32 ``(N,)``.
        labels: Numbers of the classes, int64 ``(N,)``.
        details: What RTMDet-Ins draws a mask from: kernels, point and stride, float32
            ``(N, E + 3)``; of other detectors ``(N, 3)``.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    details: np.ndarray


def find_candidates(outputs: Outputs, spec: Spec, size: tuple[int, int]) -> Candidates:
    """Return what the maps of a head hold above the threshold of scores.

    Args:
        outputs: Of one image: ``logits8`` ``(1, a * K, h, w)``, ``codes8`` ``(1, a * C, h, w)`` and
            so on for each level, see docs/howto/export.md.
        spec: Of a file with ``outside``.
        size: Height and width of the input.

    Raises:
        InputError: If the outputs do not fit the description or the input.
    """
    settings = spec.outside
    assert settings is not None  # the caller asks for it only then
    with_factors = f'factors{settings["levels"][0]["stride"]}' in outputs
    _check(outputs, spec, size, with_factors)
    levels = [_level(outputs, settings, level, size, with_factors) for level in settings['levels']]
    return Candidates(*(np.concatenate(column) for column in zip(*levels, strict=True)))


def _check(outputs: Outputs, spec: Spec, size: tuple[int, int], with_factors: bool) -> None:
    """Refuse outputs that are not those of the description."""
    settings = spec.outside
    assert settings is not None
    sides = [-(-side // settings['divisor']) * settings['divisor'] for side in size]
    expected: dict[str, tuple[int | None, ...]] = {}
    for level in settings['levels']:
        stride, anchors = level['stride'], max(len(level['anchors']), 1)
        place = [-(-side // stride) for side in sides]
        expected[f'logits{stride}'] = (1, anchors * len(spec.classes), *place)
        expected[f'codes{stride}'] = (1, None, *place)
        if with_factors:
            expected[f'factors{stride}'] = (1, anchors, *place)
        if settings['mask_widths']:
            expected[f'kernels{stride}'] = (1, None, *place)
    if settings['mask_widths']:
        expected['features'] = (1, None, None, None)
    found = {name: values.shape for name, values in outputs.items()}
    if set(found) != set(expected) or not all(
        len(found[name]) == len(shape)
        and all(side in (None, ours) for side, ours in zip(shape, found[name], strict=True))
        for name, shape in expected.items()
    ):
        raise InputError(
            'the outputs of the exported file are not the places that its description counts. '
            'Export it again'
        )


def _level(
    outputs: Outputs,
    settings: dict[str, Any],
    level: dict[str, Any],
    size: tuple[int, int],
    with_factors: bool,
) -> Candidates:
    stride = level['stride']
    anchors = np.array(level['anchors'], np.float32).reshape(-1, 4)
    number = max(len(anchors), 1)
    logits = _rows(outputs[f'logits{stride}'], number)  # (P, K)
    factors = _sigmoid(_rows(outputs[f'factors{stride}'], number)[:, 0]) if with_factors else None
    if settings['one_class']:
        # YOLOX has one candidate per place, which its objectness helps to choose.
        labels = logits.argmax(1)
        scores = _sigmoid(logits.max(1))
        scores = scores if factors is None else scores * factors
        places = np.flatnonzero(scores > settings['score_thr'])
        labels, scores = labels[places], scores[places]
    else:
        places, labels, scores = _best(logits, settings['score_thr'], settings['nms_pre'])
        scores = scores if factors is None else scores * factors[places]
    width = outputs[f'logits{stride}'].shape[3]
    priors = _priors(places, anchors, width, stride, settings['offset'])
    codes = _rows(outputs[f'codes{stride}'], number)[places].astype(np.float32)
    boxes = _decode(settings['coder'], priors, codes, stride, size)
    details = [priors[:, :2], np.full((len(places), 1), stride, np.float32)]
    if settings['mask_widths']:
        details.insert(0, _rows(outputs[f'kernels{stride}'], number)[places])
    return Candidates(boxes, scores, labels.astype(np.int64), np.concatenate(details, 1))


def _rows(maps: np.ndarray, anchors: int) -> np.ndarray:
    """Return maps ``(1, a * C, h, w)`` as rows of places, ``(h * w * a, C)``."""
    channels = maps.shape[1] // anchors
    return maps.reshape(anchors, channels, -1).transpose(2, 0, 1).reshape(-1, channels)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over='ignore'):  # exp of much is infinite, and the sigmoid zero
        return 1 / (1 + np.exp(-logits.astype(np.float32)))


def _best(
    logits: np.ndarray, score_thr: float, nms_pre: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return place, class and score of the best pairs of a level, at most ``nms_pre`` if not -1."""
    least = math.log(score_thr / (1 - score_thr)) if 0 < score_thr < 1 else -math.inf
    places, labels = np.nonzero(logits > least - _SLACK)
    scores = _sigmoid(logits[places, labels])
    order = np.argsort(-scores, kind='stable')
    order = order[scores[order] > score_thr]
    order = order[:nms_pre] if nms_pre >= 0 else order
    return places[order], labels[order], scores[order]


def _priors(
    places: np.ndarray, anchors: np.ndarray, width: int, stride: int, offset: float
) -> np.ndarray:
    """Return the anchors of places ``(N, 4)``, or their points ``(N, 2)`` if there are none."""
    positions = places // max(len(anchors), 1)
    corners = np.stack([positions % width, positions // width], 1).astype(np.float32)
    if not len(anchors):
        return (corners + np.float32(offset)) * stride
    return np.tile(corners * stride, 2) + anchors[places % len(anchors)]


def _decode(
    coder: dict[str, Any],
    priors: np.ndarray,
    codes: np.ndarray,
    stride: int,
    size: tuple[int, int],
) -> np.ndarray:
    """Return boxes ``(N, 4)`` of codes ``(N, C)``, as :mod:`casvit_mm.export.box_decoders` does."""
    if coder['kind'] == 'deltas':
        codes = codes * np.array(coder['stds'], np.float32) + np.array(coder['means'], np.float32)
        sides = priors[:, 2:] - priors[:, :2]
        centres = (priors[:, :2] + priors[:, 2:]) * 0.5 + sides * codes[:, :2]
        halves = sides * np.exp(codes[:, 2:].clip(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)) * 0.5
        boxes = np.concatenate([centres - halves, centres + halves], 1)
    else:
        points = (priors[:, :2] + priors[:, -2:]) * 0.5
        distances = _distances(coder['kind'], codes, stride)
        boxes = np.concatenate([points - distances[:, :2], points + distances[:, 2:]], 1)
    if coder['clip']:
        height, width = size
        boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
    return boxes.astype(np.float32)


def _distances(kind: str, codes: np.ndarray, stride: int) -> np.ndarray:
    """Return the distances of a point to left, top, right and bottom in pixels, ``(N, 4)``."""
    if kind == 'distances':
        return codes
    if kind == 'centre_and_size':
        offsets, halves = codes[:, :2], np.exp(codes[:, 2:]) * 0.5
        return np.concatenate([halves - offsets, halves + offsets], 1) * stride
    logits = codes.reshape(len(codes), 4, -1)  # (N, 4, n)
    chances = np.exp(logits - logits.max(2, keepdims=True))
    chances /= chances.sum(2, keepdims=True)
    return chances @ np.arange(chances.shape[2], dtype=np.float32) * stride
