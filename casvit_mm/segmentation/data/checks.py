"""Checks of a segmentation dataset: every mask is read before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from casvit_mm.datasets.classes import alike_classes
from casvit_mm.datasets.duplicates import duplicate_issues
from casvit_mm.datasets.image_scan import ScanImages, scan_headers
from casvit_mm.datasets.issues import Issue, is_trainable
from casvit_mm.datasets.splitting import shared_images
from casvit_mm.segmentation.data.description import IGNORED, SegmentationDescription
from casvit_mm.segmentation.data.recoding import Recoding
from casvit_mm.segmentation.data.scan import PairScan, scan_labels, scan_pairs
from casvit_mm.segmentation.data.sources import ImagePair, find_pairs

__all__ = ['Inspection', 'inspect_dataset']

_LISTED = 5  # values that a message lists


@dataclass(frozen=True)
class Inspection:
    """What was found, by split.

    Attributes:
        data: The dataset as described.
        recoding: How its masks become what training reads.
        pairs: Images and their masks.
        scans: What they hold, one per pair.
        issues: All issues; those between splits stand under the first of the two.
        notes: How the set was taken apart.
    """

    data: SegmentationDescription
    recoding: Recoding
    pairs: dict[str, list[ImagePair]]
    scans: dict[str, list[PairScan]]
    issues: dict[str, list[Issue]]
    notes: tuple[str, ...] = ()

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


def inspect_dataset(
    data: SegmentationDescription, splits: tuple[str, ...], scan: ScanImages = scan_headers
) -> Inspection:
    """Read every mask of some splits, and look at every image.

    Args:
        data: The dataset.
        splits: Splits that it has.
        scan: Looks at the images.

    Raises:
        InputError: As :func:`casvit_mm.segmentation.data.sources.find_pairs`.
    """
    scans: dict[str, list[PairScan]] = {}
    recoding = Recoding(data)
    pairs, issues, notes = find_pairs(data, splits, partial(_classes_of, data, recoding))
    for name in splits:
        scans[name] = scan_pairs(pairs[name], recoding, name, scan)
        issues[name] += [
            replace(scan.issue, entry=('images', i))
            for i, scan in enumerate(scans[name])
            if scan.issue is not None
        ]
    inspection = Inspection(data, recoding, pairs, scans, issues, notes)
    for name in splits:
        issues[name] += _foreign_values(inspection, name)
        issues[name] += _class_issues(inspection, name)
        issues[name] += _ignored_labels(inspection, name)
    images = {name: [Path(pair.image) for pair in pairs[name]] for name in splits}
    for first, second, message in shared_images(images):
        message = f'{data.path}: {message}'
        issues[first].append(Issue('splits share images', f'{first} and {second}', message, True))
    found = {name: {i: scan.image for i, scan in enumerate(scans[name])} for name in splits}
    for name, duplicates in duplicate_issues(found, lambda name, i: images[name][i].name).items():
        issues[name] += duplicates
    return inspection


def _classes_of(
    data: SegmentationDescription, recoding: Recoding, pairs: list[ImagePair]
) -> list[list[str]]:
    """Return the classes that each mask shows, as far as it can be read."""
    scans = scan_labels(pairs, recoding, 'the set that is split')
    shown = []
    for found in scans:
        values = () if found.counts is None else np.flatnonzero(found.counts).tolist()
        positions = (v - data.first_value for v in values if v not in data.ignore)
        shown.append([data.classes[i] for i in positions if 0 <= i < len(data.classes)])
    return shown


def _foreign_values(inspection: Inspection, split: str) -> Iterator[Issue]:
    """Find masks with values or colours that are no class and not ignored."""
    data = inspection.data
    start = data.first_value
    known = {*range(start, start + len(data.classes)), *data.ignore}
    foreign = np.array(sorted(set(range(256)) - known), dtype=np.int64)
    pairs, scans = inspection.pairs[split], inspection.scans[split]
    found: dict[int, dict[str, int]] = {}
    for i, scan in enumerate(scans):
        if scan.recoded and scan.foreign:
            found[i] = scan.foreign
        elif not scan.recoded and scan.counts is not None and scan.counts[foreign].any():
            values = foreign[scan.counts[foreign] > 0].tolist()
            found[i] = {str(value): int(scan.counts[value]) for value in values}
    labels = Counter(value for values in found.values() for value in values)
    plain = sorted({int(v) for i, values in found.items() for v in values if not scans[i].recoded})
    advice = _advise_foreign(data, plain, inspection.counts(split).sum(axis=0))
    for i, pixels in found.items():
        path = pairs[i].label
        worst = max(pixels, key=lambda value: pixels[value])
        others = f' (and {len(pixels) - 1} other such)' if len(pixels) > 1 else ''
        if scans[i].recoded:
            lacks = f'which classes of {data.path} gives to no class'
            shown = f"'{worst}'" if worst[0] == '#' else worst
            action = f'Give it to a class, or write ignore: {shown}, beside what is ignored already'
        else:
            lacks = (
                f'but classes of {data.path} lists {len(data.classes)} names, for values {start} '
                f'to {start + len(data.classes) - 1}'
            )
            action = advice
        message = (
            f'label {path} holds {worst} at {pixels[worst]} pixels{others}, {lacks}. '
            f'{labels[worst]} of {len(pairs)} labels of {split} hold {worst}. '
            f'{action}.'
        )
        at = ('images', i)
        yield Issue('value outside the classes', Path(path).name, message, True, at)


def _advise_foreign(data: SegmentationDescription, values: list[int], counts: np.ndarray) -> str:
    """Return the advice for values that are no class, given the pixels per value of the split."""
    beyond = data.first_value + len(data.classes)
    implied = {IGNORED, 0} if data.reduce_zero_label else {IGNORED}
    listed = sorted({*values, *data.ignore} - implied)
    shown = f'{listed[:_LISTED]}'.replace(']', ', ...]' if len(listed) > _LISTED else ']')
    ignore = f'ignore: {listed[0] if len(listed) == 1 else shown}'
    if values != list(range(beyond, beyond + len(values))):
        advice = f'Put values that are no class under {ignore}; classes are numbered without gaps'
        present = sorted({*np.flatnonzero(counts).tolist()} - data.ignore)
        if len(present) == len(data.classes):
            advice += f', or with the values written: classes: {_with_values(data, present)}'
        return advice
    advice = f'Add {"a name" if len(values) == 1 else f"{len(values)} names"} or {ignore}'
    if len(values) == 1 and counts[0] and not data.reduce_zero_label:
        advice += '; if 0 means unlabelled, set reduce_zero_label: true'
    return advice


def _with_values(data: SegmentationDescription, values: list[int]) -> str:
    """Return classes with these values, as they are written in the description."""
    pairs = dict(zip(data.classes, values, strict=True))
    text = yaml.safe_dump(pairs, default_flow_style=True, sort_keys=False, width=float('inf'))
    return str(text).strip()


def _class_issues(inspection: Inspection, split: str) -> Iterator[Issue]:
    """Find classes that cannot be learnt or measured, and a train split that teaches nothing."""
    data = inspection.data
    if not inspection.scans[split] or any(scan.counts is None for scan in inspection.scans[split]):
        return  # reported already; what cannot be read may hold the classes
    pixels = inspection.pixels(split).sum(axis=0)
    ignored = {data.classes[v - data.first_value] for v in _ignored_classes(data)}
    present = [name for name, count in zip(data.classes, pixels, strict=True) if count]
    if split == 'train':
        yield from alike_classes(data.classes, 'give both values to one name, like {cell: [1, 2]}')
        for name in sorted(ignored):
            message = f'class {name!r} of {data.path} is also under ignore:, so no pixel teaches it'
            yield Issue('class that is ignored', repr(name), message, False)
        if len(present) < 2:
            yield _nothing_to_learn(data, present, inspection.counts(split).sum(axis=0))
            return
    for name in data.classes:
        if name not in present and name not in ignored:
            effect = 'it cannot be learnt' if split == 'train' else 'its IoU is not measured'
            message = f'class {name!r} has no pixel in {split}; {effect}'
            yield Issue('class without pixels', repr(name), message, False)


def _ignored_classes(data: SegmentationDescription) -> set[int]:
    """Return the values that are a class and ignored."""
    return {*data.ignore} & {*range(data.first_value, data.first_value + len(data.classes))}


def _nothing_to_learn(
    data: SegmentationDescription, present: list[str], counts: np.ndarray
) -> Issue:
    """Say why train teaches nothing, given its pixels per value."""
    what = f'no class but {present[0]!r}' if present else 'no class at all'
    message = f'train of {data.path} shows {what}: '
    message += 'every other pixel is ignored' if present else 'every pixel is ignored'
    message += f', under ignore: {sorted(data.ignore)}'
    if counts[IGNORED] and data.values is None and data.ignore <= {0, IGNORED}:
        message += (
            f'. {counts[IGNORED]} pixels are {IGNORED}, which is ignored unless a class has it'
        )
        if set(np.flatnonzero(counts).tolist()) == {0, IGNORED} and len(data.classes) == 2:
            message += f'. Write classes: {_with_values(data, [0, IGNORED])}'
            message += ' without reduce_zero_label' if data.reduce_zero_label else ''
    return Issue('nothing to learn', 'train', f'{message}.', True)


def _ignored_labels(inspection: Inspection, split: str) -> Iterator[Issue]:
    data = inspection.data
    for i, scan in enumerate(inspection.scans[split]):
        if scan.counts is None or scan.foreign:
            continue
        if scan.counts[sorted(data.ignore)].sum() == scan.counts.sum():
            path, at = inspection.pairs[split][i].label, ('images', i)
            message = f'label {path} holds ignored values only'
            yield Issue('label map ignored as a whole', Path(path).name, message, False, at)
