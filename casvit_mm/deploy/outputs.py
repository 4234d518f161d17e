"""How the raw outputs of an exported file become a result."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np

from casvit_mm.deploy.images import Resized
from casvit_mm.deploy.results import Classification, Detections, Features, Result, Segmentation
from casvit_mm.deploy.spec import Spec
from casvit_mm.deploy.suppression import suppress
from casvit_mm.errors import InputError

__all__ = ['read_logits', 'read_outputs']

Outputs = dict[str, np.ndarray]
_MAX_PADDING = 256  # pixels that a network may add to a side of its input


def read_outputs(outputs: Outputs, spec: Spec, resized: Resized) -> Result:
    """Turn the raw outputs for one image into a result in pixels of the original image.

    Args:
        outputs: By name, each beginning with a batch of one, see docs/howto/export.md.
        spec: Task, classes and thresholds.
        resized: The input that they are for.

    Raises:
        InputError: If the outputs are not those of the task and its classes.
    """
    if spec.outside is not None:
        height, width = resized.pixels.shape[:2]
        outputs = suppress(outputs, spec, (height, width))
    _check(outputs, spec)
    if spec.task == 'classification':
        return _classify(outputs['scores'][0], spec)
    if spec.task == 'segmentation':
        return Segmentation(_labels(outputs['logits'][0], spec, resized), classes=spec.classes)
    if spec.task == 'detection':
        return _detect(outputs, spec, resized)
    return Features({name: values[0] for name, values in outputs.items()})


def read_logits(outputs: Outputs, spec: Spec, resized: Resized) -> np.ndarray:
    """Return the logits of a segmentor at the size of the original image, ``(C, H, W)``.

    Args:
        outputs: As for :func:`read_outputs`.
        spec: Of a segmentor.
        resized: The input that they are for.

    Raises:
        InputError: If the outputs are not those of the task and its classes.
    """
    _check(outputs, spec)
    return np.stack([one.copy() for one in _class_maps(outputs['logits'][0], spec, resized)])


# Number of axes of each output, the batch among them.
_AXES = {
    'classification': dict(scores=2),
    'segmentation': dict(logits=4),
    'detection': dict(boxes=3, scores=2, labels=2),
    'backbone': {},
}


def _check(outputs: Outputs, spec: Spec) -> None:
    """Refuse a network that is not the one that its description is for."""
    for name, axes in _AXES[spec.task].items():
        if name not in outputs or outputs[name].ndim != axes:
            raise InputError(
                f'the exported file calls itself a model of {spec.task}, but has no output '
                f'{name!r} of {axes} axes. Export it again'
            )
    if spec.task == 'detection':
        places = outputs['labels'].shape[1]
        lengths = {values.shape[1] for values in outputs.values() if values.ndim > 1}
        if lengths != {places} or outputs['boxes'].shape[2] != 4:
            raise InputError('the outputs of the exported file differ in length. Export it again')
    number = len(spec.classes)
    if spec.task == 'classification':
        found = outputs['scores'].shape[1]
    elif spec.task == 'segmentation':
        # One output tells two classes apart.
        found = outputs['logits'].shape[1] + (spec.label_thr is not None)
    elif spec.task == 'detection':
        found = max(number, int(outputs['labels'].max(initial=-1)) + 1)
    else:
        return
    if found != number:
        raise InputError(
            f'the exported file names {number} classes, but its network tells {found} apart. '
            'Export it again'
        )


def _classify(scores: np.ndarray, spec: Spec) -> Classification:
    order = np.argsort(-scores, kind='stable')
    return Classification(scores[order], order, tuple(spec.classes[i] for i in order))


def _labels(logits: np.ndarray, spec: Spec, resized: Resized) -> np.ndarray:
    """Return the number of the best class of each pixel, ``(H, W)`` at the original size."""
    best = np.full(resized.original_size, -np.inf, np.float32)  # the highest logit so far
    labels = np.zeros(resized.original_size, np.uint8 if len(logits) <= 256 else np.uint16)
    better = np.empty(resized.original_size, bool)
    for number, enlarged in enumerate(_class_maps(logits, spec, resized)):
        np.greater(enlarged, best, out=better)
        np.fmax(enlarged, best, out=best)
        np.copyto(labels, number, where=better)
    if spec.label_thr is not None:
        return (1 / (1 + np.exp(-best)) > spec.label_thr).astype(np.uint8)
    return labels


def _class_maps(logits: np.ndarray, spec: Spec, resized: Resized) -> Iterator[np.ndarray]:
    """Enlarge logits to the input, then to the image, as mmseg does.

    Args:
        logits: ``(C, h, w)``.
        spec: Whether corners stay in place.
        resized: The input.

    Yields:
        The map of each class, ``(H, W)`` at the original size, in memory that the next one takes.
    """
    sizes = resized.pixels.shape[:2], resized.original_size
    maps = [np.empty(size, np.float32) for size in sizes]
    height, width = resized.image_size
    # One class at a time, in the same memory: it stays in the processor's cache.
    for number in range(len(logits)):
        enlarged = _enlarge(logits[number], maps[0], spec.align_corners)
        enlarged = enlarged[:height, :width]  # without the padding
        yield _enlarge(enlarged, maps[1], spec.align_corners)


def _enlarge(values: np.ndarray, out: np.ndarray, align_corners: bool) -> np.ndarray:
    """Interpolate a map ``(h, w)`` linearly into ``out``, ``(H, W)``; return the result."""
    if values.shape == out.shape:
        return values
    if align_corners:
        # (H, h) and (W, w): (H, h) @ (h, w) @ (w, W)
        rows, columns = (_lines(*sides) for sides in zip(values.shape, out.shape, strict=True))
        return np.matmul(rows @ values, columns.T, out=out)
    return cv2.resize(values, out.shape[::-1], dst=out)


def _lines(old: int, new: int) -> np.ndarray:
    """Return weights ``(new, old)`` that keep the first and last value where they are."""
    places = np.linspace(0, old - 1, new, dtype=np.float32)  # of the new values among the old ones
    return np.maximum(1 - np.abs(places[:, None] - np.arange(old, dtype=np.float32)), 0)


def _detect(outputs: Outputs, spec: Spec, resized: Resized) -> Detections:
    # Of P places, those without an object have the label -1.
    found = (outputs['labels'][0] >= 0) & (outputs['scores'][0] > spec.score_thr)  # (P,)
    if not np.isfinite(outputs['boxes'][0][found]).all():
        raise InputError('the exported network predicts boxes that are no numbers; train it again')
    labels = outputs['labels'][0][found].astype(np.int64)  # (N,)
    scores = outputs['scores'][0][found]
    height, width = resized.original_size
    # Height and width were rounded separately, so each has a factor of its own.
    factors = np.array(resized.image_size, np.float32) / (height, width)
    boxes = outputs['boxes'][0][found] / factors[[1, 0, 1, 0]].astype(np.float32)  # (N, 4)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    names = tuple(spec.classes[label] for label in labels)
    masks = None
    if 'masks' in outputs and spec.mask_stride is not None:
        masks = _whole_masks(outputs['masks'][0][found], spec, spec.mask_stride, resized)
    elif 'masks' in outputs:
        masks = np.zeros((len(boxes), height, width), bool)
        for full, small, box in zip(masks, outputs['masks'][0][found], boxes, strict=True):
            _paste(full, small, box, spec.mask_thr)  # in place
    return Detections(boxes, scores, labels, names, masks)


def _whole_masks(logits: np.ndarray, spec: Spec, stride: int, resized: Resized) -> np.ndarray:
    """Enlarge masks of the whole input to the image, as mmdet's RTMDet-Ins does.

    Args:
        logits: ``(N, h, w)``.
        spec: Threshold, above which a pixel belongs to the mask.
        stride: Input pixels per position.
        resized: The input.

    Returns:
        bool ``(N, H, W)`` at the original size.
    """
    height, width = resized.original_size
    padded = [side * stride for side in logits.shape[1:]]
    inputs = zip(padded, resized.pixels.shape, strict=False)
    if not all(side <= whole < 2 * side + _MAX_PADDING for whole, side in inputs):
        raise InputError('the masks of the exported file do not fit its input. Export it again')
    sides = zip(padded, resized.original_size, resized.image_size, strict=True)
    # The padded input at the scale of the image, rounded as mmdet rounds it.
    size = [math.ceil(side * (1 / (new / old))) for side, old, new in sides]
    with np.errstate(divide='ignore'):
        least = np.log(spec.mask_thr) - np.log(1 - spec.mask_thr)
    first, second = (np.empty(shape, np.float32) for shape in (padded, size))
    masks = np.empty((len(logits), height, width), bool)
    logits = logits.astype(np.float32)
    for number in range(len(logits)):
        enlarged = _enlarge(_enlarge(logits[number], first, False), second, False)
        np.greater(enlarged[:height, :width], least, out=masks[number])
    return masks


def _paste(full: np.ndarray, small: np.ndarray, box: np.ndarray, threshold: float) -> None:
    """Enlarge the mask of a box to the image, in place.

    Args:
        full: Mask of the image, bool ``(H, W)``.
        small: Probabilities within the box ``(S, S)``.
        box: Left, top, right and bottom.
        threshold: From which a pixel belongs to the mask.
    """
    height, width = full.shape
    left, right = _reach(box[0], box[2], width)
    top, bottom = _reach(box[1], box[3], height)
    # (h, S) and (w, S): (h, S) @ (S, S) @ (S, w) interpolates linearly.
    rows = _samples(np.arange(top, bottom), box[1], box[3], small.shape[0])
    columns = _samples(np.arange(left, right), box[0], box[2], small.shape[1])
    full[top:bottom, left:right] = rows @ small.astype(np.float32) @ columns.T >= threshold


def _reach(start: float, end: float, limit: int) -> tuple[int, int]:
    """Return the first pixel that a box touches, and the one after the last; one more each way."""
    return max(int(np.floor(start)) - 1, 0), min(int(np.ceil(end)) + 1, limit)


def _samples(pixels: np.ndarray, start: float, end: float, size: int) -> np.ndarray:
    """Return the weight of each cell of a box's grid at the centre of each pixel.

    Outside of the grid all is zero, so the weights of a pixel at its border sum to less than one.
    Of a box without extent the middle is read, as in mmdet.

    Args:
        pixels: Numbers of the pixels along one axis ``(n,)``.
        start: Where the box begins on this axis.
        end: Where it ends.
        size: Cells of the grid.

    Returns:
        ``(n, size)``.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        # In cells, from the centre of the first.
        places = (pixels.astype(np.float32) + 0.5 - start) / (end - start) * size - 0.5
    places[np.isinf(places)] = (size - 1) / 2
    distances = np.abs(places[:, None] - np.arange(size, dtype=np.float32))
    return np.maximum(1 - distances, 0).astype(np.float32)
