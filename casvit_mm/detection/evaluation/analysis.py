"""Where a detector errs: every detection and every object accounted for once.

The kinds of error are those of TIDE (https://arxiv.org/abs/2008.08115), paired one to one: an
object found in the wrong place is one error, not a false alarm and a miss. mmdet's
confusion_matrix.py counts a detection once per object that it overlaps and knows no crowds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from casvit_mm.detection.evaluation.overlaps import coco_iou
from casvit_mm.errors import plain_name

__all__ = [
    'ERRORS',
    'FOUND_IOU',
    'Analysis',
    'ImageComparison',
    'analyse',
    'compare_image',
    'confusion_matrix',
    'summarise',
    'worst_images',
]

ERRORS = {
    'missed': 'an object that no detection is paired with',
    'background': 'a detection that fits no object',
    'wrong class': 'found (IoU >= 0.5), but as another class',
    'poor box': 'the right class, but IoU only 0.1 to 0.5',
    'duplicate': 'a further detection of an object found',
}
FOUND_IOU = 0.5  # IoU from which a detection finds an object
_NEAR_IOU = 0.1  # IoU from which it is meant for the object, but badly placed


@dataclass(frozen=True)
class ImageComparison:
    """One image's detections beside its objects.

    Attributes:
        image_id: The image's id.
        objects: Annotations that are no crowd.
        crowds: Annotations that are, in which detections count neither for nor against.
        detections: COCO results, best score first, without those inside crowds.
        outcomes: For each detection ``'correct'`` or a key of :data:`ERRORS`.
        partners: For each detection the position in ``objects`` of the one it is paired with, -1
            for none.
    """

    image_id: int
    objects: list[dict[str, Any]]
    crowds: list[dict[str, Any]]
    detections: list[dict[str, Any]]
    outcomes: list[str]
    partners: list[int]

    @property
    def missed(self) -> list[int]:
        """Positions in ``objects`` of those that no detection is paired with."""
        return sorted(set(range(len(self.objects))) - set(self.partners))

    @property
    def errors(self) -> Counter[str]:
        """Number of errors by kind."""
        counts = Counter(outcome for outcome in self.outcomes if outcome != 'correct')
        counts['missed'] = len(self.missed)
        return +counts

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there is nothing and nothing is found."""
        total = len(self.objects) + len(self.detections)
        return 2 * self.outcomes.count('correct') / total if total else 1.0


@dataclass(frozen=True)
class Analysis:
    """All images at one score threshold.

    Attributes:
        categories: Class names by category id.
        threshold: Detections with a lower score are left out.
        images: One comparison per image of the ground truth.
    """

    categories: dict[int, str]
    threshold: float
    images: list[ImageComparison]


def compare_image(
    image_id: int, annotations: Sequence[dict[str, Any]], detections: Sequence[dict[str, Any]]
) -> ImageComparison:
    """Pair detections with objects, the best scored first, each with the nearest free one.

    Correct pairs come first, exactly as COCO pairs them at IoU 0.5. What is left is then explained,
    in this order, as duplicate (IoU >= 0.5), wrong class, poor box, duplicate (IoU >= 0.1).

    Args:
        image_id: The image's id.
        annotations: Its annotations: ``bbox`` (x, y, width, height), ``category_id``, ``iscrowd``.
        detections: Its COCO results: ``bbox``, ``category_id``, ``score``.
    """
    objects = [a for a in annotations if not a.get('iscrowd', 0)]
    crowds = [a for a in annotations if a.get('iscrowd', 0)]
    ranked = sorted(detections, key=lambda d: -d['score'])
    iou, same = _iou(ranked, objects), _same_class(ranked, objects)  # (detections, objects)
    partners = np.full(len(ranked), -1)
    outcomes = np.full(len(ranked), 'background', dtype=object)
    free = np.ones(len(objects), dtype=bool)

    def pair(allowed: np.ndarray, outcome: str) -> None:
        """Give each detection that has no outcome yet the nearest free object of those allowed."""
        for d in np.flatnonzero(allowed.any(axis=1) & (outcomes == 'background')):
            if (allowed[d] & free).any():
                partners[d] = np.where(allowed[d] & free, iou[d], -1).argmax()
                outcomes[d] = outcome
                free[partners[d]] = False

    def mark(found: np.ndarray, outcome: str) -> None:
        """Set the outcome of detections that have none yet and meet any object of ``found``."""
        outcomes[found.any(axis=1) & (outcomes == 'background')] = outcome

    pair(same & (iou >= FOUND_IOU), 'correct')
    mark(_same_class(ranked, crowds) & (_iou(ranked, crowds) >= FOUND_IOU), 'ignored')
    mark(same & (iou >= FOUND_IOU), 'duplicate')
    pair(~same & (iou >= FOUND_IOU), 'wrong class')
    pair(same & (iou >= _NEAR_IOU), 'poor box')
    mark(same & (iou >= _NEAR_IOU), 'duplicate')

    kept = np.flatnonzero(outcomes != 'ignored')
    return ImageComparison(
        image_id,
        objects,
        crowds,
        [ranked[d] for d in kept],
        outcomes[kept].tolist(),
        partners[kept].tolist(),
    )


def _iou(detections: Sequence[dict], annotations: Sequence[dict]) -> np.ndarray:
    """Return box IoUs ``(detections, annotations)``; with a crowd, the share inside it."""
    boxes, others = (
        np.array([e['bbox'] for e in part], float) for part in (detections, annotations)
    )
    return coco_iou(boxes, others, [bool(a.get('iscrowd', 0)) for a in annotations])


def _same_class(detections: Sequence[dict], annotations: Sequence[dict]) -> np.ndarray:
    """Return whether the classes agree, bool ``(detections, annotations)``."""
    left, right = ([e['category_id'] for e in part] for part in (detections, annotations))
    return np.array(left, dtype=int)[:, None] == np.array(right, dtype=int)[None]


def analyse(
    ground_truth: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    categories: dict[int, str] | None = None,
    threshold: float | None = None,
) -> Analysis:
    """Compare the boxes of COCO results with a COCO ground truth, image by image.

    Args:
        ground_truth: COCO's dictionary with ``images``, ``annotations`` and ``categories``.
        detections: COCO results with ``image_id``, ``category_id``, ``bbox`` and ``score``.
        categories: Class names by category id, of the classes to look at; None takes all.
        threshold: Score from which a detection counts; None takes the one with the highest F1 over
            all classes together at IoU 0.5.
    """
    if categories is None:
        categories = {c['id']: c['name'] for c in ground_truth['categories']}
    annotations_of = _by_image(ground_truth['annotations'], categories)
    detections_of = _by_image(detections, categories)
    ids = [image['id'] for image in ground_truth['images']]
    if threshold is None:
        threshold = _best_threshold(
            [compare_image(i, annotations_of[i], detections_of[i]) for i in ids]
        )
    images = [
        compare_image(
            i, annotations_of[i], [d for d in detections_of[i] if d['score'] >= threshold]
        )
        for i in ids
    ]
    return Analysis(categories, threshold, images)


def _by_image(
    entries: Sequence[dict[str, Any]], categories: dict[int, str]
) -> dict[int, list[dict[str, Any]]]:
    """Group annotations or detections of the categories by image id."""
    groups = defaultdict(list)
    for entry in entries:
        if entry['category_id'] in categories:
            groups[entry['image_id']].append(entry)
    return groups


def _best_threshold(images: Sequence[ImageComparison]) -> float:
    """Return the score at which F1 over all images is highest; 0 where nothing is detected."""
    scores = np.array([d['score'] for image in images for d in image.detections])
    correct = np.array([outcome == 'correct' for image in images for outcome in image.outcomes])
    if not scores.size:
        return 0.0
    order = np.argsort(-scores, kind='stable')
    scores, found = scores[order], correct[order].cumsum()
    total = sum(len(image.objects) for image in images)
    f1 = 2 * found / (np.arange(1, len(scores) + 1) + total)
    # Equal scores stand or fall together.
    last = np.append(scores[1:] != scores[:-1], True)
    return float(scores[np.where(last, f1, -1).argmax()])


def confusion_matrix(analysis: Analysis) -> np.ndarray:
    """Count what each object was taken for, (classes + 1, classes + 1), row truth, column found.

    The last row is background taken for an object, the last column an object taken for background.
    Duplicates are in the last row; a poor box is in the last row and, its object, in the last
    column. The diagonal holds COCO's true positives at IoU 0.5.
    """
    row = {category_id: k for k, category_id in enumerate(analysis.categories)}
    background = len(row)
    matrix = np.zeros((background + 1, background + 1), dtype=int)
    for image in analysis.images:
        labels = [row[annotation['category_id']] for annotation in image.objects]
        unseen = set(range(len(labels)))
        for found, outcome, partner in zip(
            image.detections, image.outcomes, image.partners, strict=True
        ):
            paired = outcome in ('correct', 'wrong class')
            matrix[labels[partner] if paired else background, row[found['category_id']]] += 1
            unseen -= {partner} if paired else set()
        for position in unseen:
            matrix[labels[position], background] += 1
    return matrix


def worst_images(analysis: Analysis, number: int) -> list[ImageComparison]:
    """Return the images with the most errors; of two with equally many, the lower F1 first."""
    wrong = [image for image in analysis.images if image.errors]
    return sorted(wrong, key=lambda image: (-image.errors.total(), image.f1))[:number]


def summarise(analysis: Analysis) -> dict[str, Any]:
    """Return the numbers of an analysis as plain values, over all classes and for each.

    Keys: ``threshold``, ``iou``, ``precision``, ``recall``, ``f1``, ``errors`` (number by kind),
    ``meaning`` (of each kind), ``remarks`` (sentences), ``classes`` (name: objects, correct,
    precision, recall, f1), ``confusion_matrix`` (``labels``, ``counts``). NaN where a class has
    nothing to divide by.
    """
    matrix = confusion_matrix(analysis)
    names = list(analysis.categories.values())
    objects, found, correct = matrix.sum(1)[:-1], matrix.sum(0)[:-1], matrix.diagonal()[:-1]
    classes = {
        name: dict(objects=int(n), correct=int(c), **_rates(c, f, n))
        for name, n, f, c in zip(names, objects, found, correct, strict=True)
    }
    errors: Counter[str] = sum((image.errors for image in analysis.images), Counter())
    return dict(
        threshold=analysis.threshold,
        iou=FOUND_IOU,
        **_rates(correct.sum(), found.sum(), objects.sum()),
        errors={kind: errors[kind] for kind in ERRORS},
        meaning=ERRORS,
        remarks=_remarks(names, matrix, errors),
        classes=classes,
        confusion_matrix=dict(labels=[*names, 'background'], counts=matrix.tolist()),
    )


def _rates(correct: int, found: int, objects: int) -> dict[str, float]:
    """Precision, recall and F1 of counts; NaN where there is nothing to divide by."""
    return dict(
        precision=float(correct / found) if found else float('nan'),
        recall=float(correct / objects) if objects else float('nan'),
        f1=float(2 * correct / (found + objects)) if found + objects else float('nan'),
    )


def _remarks(names: list[str], matrix: np.ndarray, errors: Counter[str]) -> list[str]:
    """Return sentences on the most frequent error and the classes with the most errors."""
    if not errors.total():
        return ['No error at this threshold.']
    kind, count = errors.most_common(1)[0]
    remarks = [f'Main error: {kind}, {count} of {errors.total()}.']
    names = [plain_name(name) for name in names]
    unseen, alarms = matrix[:-1, -1], matrix[-1, :-1]
    if unseen.any():
        k = unseen.argmax()
        remarks.append(f'Most often not found: {names[k]}, {unseen[k]} of {matrix[k].sum()}.')
    if alarms.any():
        k = alarms.argmax()
        remarks.append(f'Most false alarms: {names[k]}, {alarms[k]} of {matrix[:, k].sum()}.')
    mixed = matrix[:-1, :-1] * ~np.eye(len(names), dtype=bool)
    if mixed.any():
        k, taken = np.unravel_index(mixed.argmax(), mixed.shape)
        remarks.append(
            f'Most often confused: {names[k]} taken for {names[taken]}, '
            f'{mixed[k, taken]} of {matrix[k].sum()}.'
        )
    return remarks
