"""Checks of a segmentation dataset: every mask is read before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit_mm.datasets.image_scan import read_in_threads
from casvit_mm.datasets.issues import Issue, is_trainable
from casvit_mm.datasets.splitting import shared_images
from casvit_mm.segmentation.data.description import IGNORED, SegmentationDescription
from casvit_mm.segmentation.data.scan import PairScan, scan_pair
from casvit_mm.segmentation.data.sources import ImagePair, find_pairs

__all__ = ['Inspection', 'inspect_dataset']

_LISTED = 5  # values that a message lists


@dataclass(frozen=True)
class Inspection:
    """What was found, by split.

    Attributes:
        data: The dataset as described.
        pairs: Images and their masks.
        scans: What they hold, one per pair.
        issues: All issues; those between splits stand under the first of the two.
    """

    data: SegmentationDescription
    pairs: dict[str, list[ImagePair]]
    scans: dict[str, list[PairScan]]
    issues: dict[str, list[Issue]]

    def trainable(self) -> bool:
        """Return whether training would start."""
        return is_trainable(self.issues)

    def counts(self, split: str) -> np.ndarray:
        """Return the pixels per value of each readable mask, int64 ``(masks, 256)``."""
        found = [scan.counts for scan in self.scans[split] if scan.counts is not None]
        return np.stack(found) if found else np.zeros((0, 256), dtype=np.int64)

    def pixels(self, split: str) -> np.ndarray:
        """Return the pixels per class of each readable mask, int64 ``(masks, classes)``.

        Pixels that are neither learnt nor scored count as none.
        """
        start = self.data.first_value
        pixels = self.counts(split)[:, start : start + len(self.data.classes)].copy()
        pixels[:, [v - start for v in self.data.ignore if 0 <= v - start < pixels.shape[1]]] = 0
        return pixels


def inspect_dataset(data: SegmentationDescription, splits: tuple[str, ...]) -> Inspection:
    """Read every mask of some splits, and the header of every image.

    Args:
        data: The dataset.
        splits: Splits that it has.

    Raises:
        InputError: As :func:`casvit_mm.segmentation.data.sources.find_pairs`.
    """
    pairs, issues = find_pairs(data, splits)
    scans: dict[str, list[PairScan]] = {}
    for name in splits:
        scans[name] = read_in_threads(scan_pair, pairs[name], f'reading labels of {name}')
        issues[name] += [scan.issue for scan in scans[name] if scan.issue is not None]
    inspection = Inspection(data, pairs, scans, issues)
    for name in splits:
        issues[name] += _foreign_values(inspection, name)
        issues[name] += _class_issues(inspection, name)
        issues[name] += _ignored_labels(inspection, name)
    images = {name: [Path(pair.image) for pair in pairs[name]] for name in splits}
    for first, second, message in shared_images(images):
        message = f'{data.path}: {message}'
        issues[first].append(Issue('splits share images', f'{first} and {second}', message, True))
    return inspection


def _foreign_values(inspection: Inspection, split: str) -> Iterator[Issue]:
    """Find masks with values that are no class and not ignored."""
    data = inspection.data
    start = data.first_value
    known = {*range(start, start + len(data.classes)), *data.ignore}
    foreign = np.array(sorted(set(range(256)) - known), dtype=np.int64)
    found: dict[str, dict[int, int]] = {}
    for pair, scan in zip(inspection.pairs[split], inspection.scans[split], strict=True):
        if scan.counts is not None and scan.counts[foreign].any():
            values = foreign[scan.counts[foreign] > 0]
            found[pair.label] = {int(value): int(scan.counts[value]) for value in values}
    labels = Counter(value for values in found.values() for value in values)
    advice = _advise_foreign(data, sorted(labels), int(inspection.counts(split)[:, 0].sum()))
    for path, pixels in found.items():
        worst = max(pixels, key=lambda value: pixels[value])
        others = f' (and {len(pixels) - 1} other such)' if len(pixels) > 1 else ''
        message = (
            f'label {path} holds {worst} at {pixels[worst]} pixels{others}, but classes of '
            f'{data.path} lists {len(data.classes)} names, for values {start} to '
            f'{start + len(data.classes) - 1}. {labels[worst]} of {len(inspection.pairs[split])} '
            f'labels of {split} hold {worst}. {advice}'
        )
        yield Issue('value outside the classes', Path(path).name, message, True)


def _advise_foreign(data: SegmentationDescription, values: list[int], zeros: int) -> str:
    """Return the advice for values that are no class, given the number of pixels that are 0."""
    beyond = data.first_value + len(data.classes)
    implied = {IGNORED, 0} if data.reduce_zero_label else {IGNORED}
    listed = sorted({*values, *data.ignore} - implied)
    shown = f'{listed[:_LISTED]}'.replace(']', ', ...]' if len(listed) > _LISTED else ']')
    ignore = f'ignore: {listed[0] if len(listed) == 1 else shown}'
    if values != list(range(beyond, beyond + len(values))):
        return f'Put values that are no class under {ignore}; classes are numbered without gaps.'
    advice = f'Add {"a name" if len(values) == 1 else f"{len(values)} names"} or {ignore}'
    if len(values) == 1 and zeros and not data.reduce_zero_label:
        advice += '; if 0 means unlabelled, set reduce_zero_label: true'
    return f'{advice}.'


def _class_issues(inspection: Inspection, split: str) -> Iterator[Issue]:
    """Find classes that cannot be learnt or measured, and a train split that teaches nothing."""
    data = inspection.data
    if not inspection.scans[split] or any(scan.counts is None for scan in inspection.scans[split]):
        return  # reported already; what cannot be read may hold the classes
    pixels = inspection.pixels(split).sum(axis=0)
    void = int(inspection.counts(split)[:, IGNORED].sum())
    ignored = {data.classes[v - data.first_value] for v in _ignored_classes(data)}
    present = [name for name, count in zip(data.classes, pixels, strict=True) if count]
    if split == 'train':
        for name in sorted(ignored):
            message = f'class {name!r} of {data.path} is also under ignore:, so no pixel teaches it'
            yield Issue('class that is ignored', repr(name), message, False)
        if len(present) < 2:
            yield _nothing_to_learn(data, present, void)
            return
    for name in data.classes:
        if name not in present and name not in ignored:
            effect = 'it cannot be learnt' if split == 'train' else 'its IoU is not measured'
            message = f'class {name!r} has no pixel in {split}; {effect}'
            yield Issue('class without pixels', repr(name), message, False)


def _ignored_classes(data: SegmentationDescription) -> set[int]:
    """Return the values that are a class and ignored."""
    return {*data.ignore} & {*range(data.first_value, data.first_value + len(data.classes))}


def _nothing_to_learn(data: SegmentationDescription, present: list[str], void: int) -> Issue:
    what = f'no class but {present[0]!r}' if present else 'no class at all'
    message = f'train of {data.path} shows {what}: '
    message += 'every other pixel is ignored' if present else 'every pixel is ignored'
    message += f', under ignore: {sorted(data.ignore)}'
    if void and data.ignore <= {0, IGNORED}:
        message += (
            f'. {void} pixels are {IGNORED}, which is always ignored: masks drawn with 0 and 255 '
            'must be saved with 0 and 1'
        )
    return Issue('nothing to learn', 'train', f'{message}.', True)


def _ignored_labels(inspection: Inspection, split: str) -> Iterator[Issue]:
    data = inspection.data
    for pair, scan in zip(inspection.pairs[split], inspection.scans[split], strict=True):
        if scan.counts is not None and scan.counts[sorted(data.ignore)].sum() == scan.counts.sum():
            message = f'label {pair.label} holds ignored values only'
            yield Issue('label map ignored as a whole', Path(pair.label).name, message, False)
