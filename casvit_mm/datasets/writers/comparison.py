"""By how much a set that was written differs from what it was written of, when it is read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Object

__all__ = ['Comparison', 'compare_sets']


@dataclass
class Comparison:
    """What became of the objects.

    Attributes:
        number: Of objects that were to be written.
        missing: How many of them, or more, are not there, are of another class, or of an image that
            is not there.
        shifts: Of each object that is there, the largest difference of an edge of its box in
            pixels.
        box_ious: Likewise the IoU of the boxes.
        mask_ious: Likewise that of the masks, of those that have outlines on both sides.
    """

    number: int = 0
    missing: int = 0
    shifts: list[float] = field(default_factory=list)
    box_ious: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what there is to say."""
        lines = [f'read again: {self.number - self.missing} of {self.number} objects']
        if self.shifts:
            lines.append(f'  edges of boxes: differ by up to {max(self.shifts):.2g} px')
            lines.append(f'  IoU of boxes: {_least_and_mean(self.box_ious)}')
        if self.mask_ious:
            lines.append(f'  IoU of {len(self.mask_ious)} masks: {_least_and_mean(self.mask_ious)}')
        return lines


def _least_and_mean(values: list[float]) -> str:
    worst = sum(value < 1 for value in values)
    return f'least {min(values):.6f}, mean {np.mean(values):.6f}, below 1: {worst}'


def compare_sets(source: LabelledSet, again: LabelledSet, out: Path) -> Comparison:
    """Compare the objects of a set with those of the set that was read of what was written.

    Args:
        source: What was to be written, with the names of images that they got.
        again: What was read.
        out: Folder that was written.
    """
    found = Comparison()
    there = {_name(image, out): image for image in again.images()}
    for split, images in source.splits.items():
        for image in images:
            found.number += len(image.objects)
            other = next((there[n] for n in _names(image, split) if n in there), None)
            if other is None:
                found.missing += len(image.objects)
            else:
                _compare(image, other, source.names, again.names, found)
    return found


def _name(image: ImageLabels, out: Path) -> str:
    """Return the path of an image from the folder that was written; links are not followed."""
    folder = os.path.realpath(image.file.parent)
    return Path(os.path.relpath(os.path.join(folder, image.file.name), out.resolve())).as_posix()


def _names(image: ImageLabels, split: str) -> Iterator[str]:
    for folder in (f'images/{split}', 'images', 'JPEGImages', split):
        yield f'{folder}/{image.name}'


def _compare(
    image: ImageLabels,
    other: ImageLabels,
    names: dict[int, str],
    other_names: dict[int, str],
    found: Comparison,
) -> None:
    left = [names[one['category_id']] for one in image.objects]
    right = [other_names[one['category_id']] for one in other.objects]
    pairs = [(i, j) for i, j in _pairs(image.objects, other.objects) if left[i] == right[j]]
    found.missing += len(left) - len(pairs)
    for i, j in pairs:
        one, pair = image.objects[i], other.objects[j]
        found.shifts.append(float(np.abs(np.subtract(_corners(one), _corners(pair))).max()))
        found.box_ious.append(_box_iou(one, pair))
        if one.get('segmentation') and pair.get('segmentation'):
            size = image.width, image.height
            masks = [decode_segmentation(o['segmentation'], *size) for o in (one, pair)]
            union = int((masks[0] | masks[1]).sum())
            found.mask_ious.append(int((masks[0] & masks[1]).sum()) / union if union else 1.0)


def _pairs(ones: list[Object], others: list[Object]) -> list[tuple[int, int]]:
    """Pair objects by their order; where some are missing, those first that overlap most."""
    if len(ones) == len(others):
        return [(i, i) for i in range(len(ones))]
    ious = [(_box_iou(a, b), i, j) for i, a in enumerate(ones) for j, b in enumerate(others)]
    pairs: dict[int, int] = {}
    for iou, i, j in sorted(ious, key=lambda entry: -entry[0]):
        if iou > 0 and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return sorted(pairs.items())


def _corners(one: Object) -> tuple[float, float, float, float]:
    x, y, w, h = one['bbox']
    return x, y, x + w, y + h


def _box_iou(one: Object, other: Object) -> float:
    first, second = _corners(one), _corners(other)
    if first == second:
        return 1.0
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(o['bbox'][2:])) for o in (one, other)]
    return common / (sum(areas) - common) if sum(areas) > common else 0.0
