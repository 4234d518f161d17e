"""Whether an exported file computes what the model computes in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from casvit_mm.deploy.outputs import read_outputs
from casvit_mm.deploy.predictor import Predictor, prepare_tensor
from casvit_mm.deploy.results import Detections, Segmentation
from casvit_mm.detection.evaluation.overlaps import coco_iou
from casvit_mm.errors import InputError
from casvit_mm.export.reference import reference

__all__ = ['TOLERANCES', 'Comparison', 'Tolerance', 'compare']

_MIN_IOU = 0.5  # of two objects that are taken for the same


@dataclass(frozen=True)
class Tolerance:
    """How far an export in one precision may be from PyTorch.

    Attributes:
        difference: Maximum of the mean difference of the outputs.
        agreement: Minimum agreement of the predictions.
    """

    difference: float
    agreement: float


TOLERANCES = {
    'fp32': Tolerance(1e-4, 0.999),
    'fp16': Tolerance(0.01, 0.98),
    'bf16': Tolerance(0.03, 0.9),
    'int8': Tolerance(0.1, 0.8),
}


@dataclass(frozen=True)
class Comparison:
    """An exported file beside PyTorch, over several images.

    Attributes:
        images: Number of images.
        objects: Number of detections of PyTorch; None for other tasks.
        maximum: Largest difference of an output: probabilities and scores as they are, feature maps
            and logits as a share of the largest one.
        mean: Mean difference.
        agreement: Share of images with the same best class, of pixels with the same class, or mean
            overlap of objects weighted by their score; for feature maps the cosine of the angle
            between them.
    """

    images: int
    objects: int | None
    maximum: float
    mean: float
    agreement: float

    @property
    def error(self) -> float:
        """Share of the predictions that differ, or the mean difference if that is larger."""
        return float(np.max([1 - self.agreement, self.mean]))  # of a NaN a NaN

    def check(self, tolerance: Tolerance, precision: str) -> None:
        """Refuse an export that differs too much.

        Raises:
            InputError: With both numbers, what is allowed, and what to try.
        """
        good = self.mean <= tolerance.difference and self.agreement >= tolerance.agreement
        if good:  # a NaN is not
            return
        advice = {
            'fp32': 'The engine computes something else than torch; try another version of it',
            'int8': 'Calibrate on more images, and such as the model will see, or take --fp16',
        }.get(precision, 'Take a higher precision')
        raise InputError(
            f'the exported file is not accurate enough, so it was not kept: {self}. Allowed are a '
            f'mean difference of {tolerance.difference:g} and an agreement of '
            f'{tolerance.agreement:g}. {advice}.'
        )

    def __str__(self) -> str:
        objects = '' if self.objects is None else f', {self.objects} objects'
        return (
            f'{self.images} images{objects}: outputs differ by {self.maximum:.1e} at most and '
            f'{self.mean:.1e} on average, predictions agree to {100 * self.agreement:.3f} %'
        )


class _ImageComparison(NamedTuple):
    """An exported file beside PyTorch, on one image.

    Attributes:
        differences: Of the outputs, ``(N,)``; of matched objects their scores.
        agreement: As in :class:`Comparison`.
        weight: Of this agreement in the mean over all images.
        objects: Number of detections of PyTorch; 0 for other tasks.
    """

    differences: np.ndarray
    agreement: float
    weight: float
    objects: int


def compare(model: Any, predictor: Predictor, files: Sequence[Path]) -> Comparison:
    """Run a file and the mm model in PyTorch on the same pixels.

    Args:
        model: The mm model, in eval mode and float32.
        predictor: The exported file.
        files: Images.
    """
    found = [_compare_image(model, predictor, file) for file in files]
    differences = np.concatenate([each.differences for each in found])
    agreements = np.array([each.agreement for each in found])
    weights = np.array([each.weight for each in found])
    detects = predictor.spec.task == 'detection'
    return Comparison(
        images=len(files),
        objects=sum(each.objects for each in found) if detects else None,
        maximum=float(differences.max(initial=0.0)),
        mean=float(differences.mean()) if differences.size else 0.0,
        agreement=float(agreements @ weights / weights.sum()) if weights.any() else 1.0,
    )


def _compare_image(model: Any, predictor: Predictor, file: Path) -> _ImageComparison:
    spec = predictor.spec
    resized = predictor.prepare(file)
    height, width = resized.pixels.shape[:2]
    whole = (height, width)
    if resized.image_size != whole:
        # What is padded belongs to the image here: the mm packages do not know of it.
        resized = replace(resized, image_size=whole, original_size=whole)
    outputs = predictor.run(prepare_tensor(resized.pixels, spec))
    expected, truth = reference(model, spec.task, resized, list(outputs))
    result = read_outputs(outputs, spec, resized)
    if isinstance(result, Detections):
        assert isinstance(truth, Detections)
        return _compare_detections(truth, result)
    scale = 1.0 if spec.task == 'classification' else max(abs(v).max() for v in expected.values())
    # All outputs of PyTorch and of the file, in one row each.
    ours, theirs = (
        np.concatenate([values[name].ravel() for name in expected])
        for values in (expected, outputs)
    )
    if isinstance(result, Segmentation):
        assert isinstance(truth, Segmentation)
        agreement = float((result.labels == truth.labels).mean())
    elif spec.task == 'classification':
        agreement = float(ours.argmax() == theirs.argmax())
    else:
        agreement = float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)))
    return _ImageComparison(np.abs(ours - theirs) / scale, agreement, 1.0, 0)


def _compare_detections(truth: Detections, found: Detections) -> _ImageComparison:
    """Match objects of one class by their overlap, the highest score first.

    The agreement is Dice's coefficient with the scores as sizes: a matched object counts by its
    score times its overlap, an unmatched one, on either side, not at all.
    """
    overlaps = _overlaps(truth, found)  # (N, M)
    overlaps[truth.labels[:, None] != found.labels] = 0
    differences, matched = [], 0.0
    for number in np.argsort(-truth.scores, kind='stable'):
        best = int(overlaps[number].argmax()) if len(found.scores) else -1
        if best < 0 or overlaps[number, best] < _MIN_IOU:
            continue
        differences.append(abs(truth.scores[number] - found.scores[best]))
        matched += 2 * truth.scores[number] * overlaps[number, best]
        overlaps[:, best] = 0  # it is taken
    total = float(truth.scores.sum() + found.scores.sum())
    agreement = matched / total if total else 1.0
    return _ImageComparison(np.array(differences), agreement, total, len(truth.scores))


def _overlaps(truth: Detections, found: Detections) -> np.ndarray:
    """Return the IoU ``(N, M)`` of boxes; where there are masks, the lower of boxes' and masks'."""
    overlaps = coco_iou(_as_coco_boxes(truth.boxes), _as_coco_boxes(found.boxes))
    if truth.masks is None or found.masks is None:
        return overlaps
    theirs, ours = np.asarray(truth.masks), np.asarray(found.masks)
    of_masks = coco_iou(_as_rles(theirs), _as_rles(ours))
    # Two masks without a pixel are equal, but COCO gives them an IoU of zero.
    empty, also_empty = (np.flatnonzero(~masks.any(axis=(1, 2))) for masks in (theirs, ours))
    of_masks[np.ix_(empty, also_empty)] = 1
    return np.minimum(overlaps, of_masks)


def _as_coco_boxes(boxes: np.ndarray) -> np.ndarray:
    """Turn left, top, right and bottom into x, y, width and height, float64 ``(N, 4)``."""
    corners = boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def _as_rles(masks: np.ndarray) -> list[dict[str, Any]]:
    """Encode bool masks ``(N, H, W)`` as COCO RLE."""
    return mask_utils.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))
