"""Everything that can be found out about detection data before training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.classes import alike_classes, rare_classes
from casvit_mm.datasets.duplicates import duplicate_issues
from casvit_mm.datasets.formats.coco import find_issues
from casvit_mm.datasets.formats.coco_values import is_id, name_annotation
from casvit_mm.datasets.formats.packed import no_collection
from casvit_mm.datasets.image_scan import ImageScan, ScanImages, scan_images
from casvit_mm.datasets.issues import Issue, is_trainable
from casvit_mm.datasets.object_sources import LoadedSplit, load_split
from casvit_mm.datasets.splitting import shared_images
from casvit_mm.detection.data.description import DetectionDescription
from casvit_mm.detection.data.image_checks import file_issues, scan_split
from casvit_mm.detection.data.mask_checks import has_masks, mask_issues, read_masks
from casvit_mm.detection.data.objects import Objects, read_objects
from casvit_mm.detection.data.split_checks import (
    corner_boxes,
    empty_class,
    image_files,
    list_open_classes,
    open_names,
    unlisted_images,
)
from casvit_mm.errors import InputError

__all__ = ['Inspection', 'content_issues', 'inspect_dataset']

_PRIME = 0x9E3779B97F4A7C15  # 2**64 by the golden ratio; odd
_EDGE = 0.5  # px by which a box may leave its image; rounding does that
_UNSURE = {'missing list', 'malformed category', 'duplicate category'}  # about the classes
_MASK_KINDS = (
    'object without mask',
    'broken polygon',
    'RLE that does not decode',
    'RLE of another size',
)


@dataclass(frozen=True)
class Inspection:
    """What was found, by split.

    Attributes:
        data: The dataset as described.
        with_masks: Whether masks are trained on; None where no config tells.
        loaded: Annotations of the splits that can be read.
        objects: Their well-formed objects.
        scans: What the image files hold, by position in the list of images.
        issues: All issues; those between splits stand under the first of the two.
    """

    data: DetectionDescription
    with_masks: bool | None
    loaded: dict[str, LoadedSplit]
    objects: dict[str, Objects]
    scans: dict[str, dict[int, ImageScan]]
    issues: dict[str, list[Issue]]

    def trainable(self) -> bool:
        """Return whether training would start and read every image.

        An issue of the test split counts: training refuses it too, not to reveal it at the end.
        """
        return is_trainable(self.issues)

    def masks_complete(self) -> bool:
        """Return whether every object of every split has a sound mask; test may have no objects."""
        contents = [
            s.content for n, s in self.loaded.items() if n != 'test' or s.content.get('annotations')
        ]
        return all(map(has_masks, contents)) and not any(
            d.kind in _MASK_KINDS for issues in self.issues.values() for d in issues
        )


def inspect_dataset(
    data: DetectionDescription, with_masks: bool | None, scan: ScanImages = scan_images
) -> Inspection:
    """Inspect every split of a dataset.

    Args:
        data: The dataset.
        with_masks: Whether every object needs a mask. None: masks are checked where there are
            some, and a missing one is no obstacle.
        scan: Looks at the images.
    """
    loaded: dict[str, LoadedSplit] = {}
    issues: dict[str, list[Issue]] = {}
    for name in data.splits:
        try:
            loaded[name] = load_split(data, name)
        except InputError as error:
            issues[name] = [Issue('unreadable annotations', name, str(error), True)]
    list_open_classes(loaded, _reference_names(loaded))
    objects = {name: read_objects(split.content) for name, split in loaded.items()}
    for name, split in loaded.items():
        found = content_issues(split.content, split.images, with_masks, name)
        issues[name] = [
            *(Issue('unreadable source', place, p, True) for place, p in split.unreadable),
            *(Issue('files not used', folder, p, False) for folder, p in split.unused),
            *(Issue('annotations not used', place, p, False) for place, p in split.skipped),
            *found,
        ]
        if message := corner_boxes(data, split):
            issues[name].append(Issue('boxes look like corners', name, message, True))
        if not any(d.kind == 'missing list' for d in found):
            issues[name] += _class_issues(objects[name], name)
    sound = {n: o for n, o in objects.items() if not _UNSURE & {d.kind for d in issues[n]}}
    for name, disagreement in _disagreements(sound):
        issues[name].append(disagreement)
    if message := empty_class(data, loaded):
        issues['train'].append(Issue('class not learnt', 'train', message, True))
    readable = {n: s for n, s in loaded.items() if all(d.kind != 'missing list' for d in issues[n])}
    for first, second, message in shared_images(image_files(readable)):
        issues[first].append(Issue('splits share images', f'{first} and {second}', message, True))
    # A name that is wrong leaves its image unlisted, and is told already.
    if is_trainable(issues) and (message := unlisted_images(data, loaded)):
        issues['train'].append(Issue('files not used', 'images', message, False))

    scans: dict[str, dict[int, ImageScan]] = {}
    for name, split in readable.items():
        scans[name] = scan_split(split.content, split.images, name, scan)
        issues[name] += file_issues(split.content, scans[name], bool(with_masks))

    def file_name(split: str, i: int) -> str:
        name: str = loaded[split].content['images'][i]['file_name']
        return name

    for name, duplicates in duplicate_issues(scans, file_name).items():
        issues[name] += duplicates
    return Inspection(data, with_masks, loaded, objects, scans, issues)


def _reference_names(loaded: dict[str, LoadedSplit]) -> tuple[str, ...]:
    """Return the categories of the first split that lists them, else all that occur."""
    for split in loaded.values():
        if not split.open_classes:
            categories = split.content.get('categories')
            entries = categories if isinstance(categories, list) else []
            names = [c.get('name') for c in entries if isinstance(c, dict)]
            return tuple(name for name in names if isinstance(name, str))
    return open_names(loaded)


@no_collection()
def content_issues(
    content: dict[str, Any], images: Path, with_masks: bool | None, split: str
) -> list[Issue]:
    """Find the issues of one split that its annotations show without reading an image.

    Args:
        content: Lists of images, annotations and categories.
        images: The folder that ``file_name`` counts from.
        with_masks: As in :func:`inspect_dataset`.
        split: Its name; test images may be without labels.
    """
    look = has_masks(content) if with_masks is None else with_masks
    issues = find_issues(content, images, look, split == 'test')
    if any(d.kind == 'missing list' for d in issues):
        return issues
    objects = read_objects(content)
    masks = read_masks(content, objects)
    if look:
        issues += masks.issues
        issues += mask_issues(content, objects, masks)
    issues += _box_issues(content, objects)
    issues += _area_issues(content, objects, masks.area, masks.doubtful)
    issues += _empty_images(content)
    if with_masks:
        return issues
    # A detector of boxes reads no mask.
    return [dataclasses.replace(d, fatal=False) if d.kind in _MASK_KINDS else d for d in issues]


def _at(
    kind: str, content: dict[str, Any], objects: Objects, rows: Iterable[int], text: str
) -> Iterator[Issue]:
    """Yield an issue per row of ``objects``; ``text`` may name the box and the image's size."""
    for row in rows:
        index = int(objects.index[row])
        which = name_annotation(content['annotations'][index])
        box = '[' + ', '.join(f'{v:g}' for v in objects.box[row]) + ']'
        width, height = objects.size[row].astype(int)
        message = f'{which} ' + text.format(box=box, width=width, height=height)
        yield Issue(kind, which, message, False, ('annotations', index))


def _box_issues(content: dict[str, Any], objects: Objects) -> Iterator[Issue]:
    x, y, w, h = objects.box.T
    width, height = objects.size.T
    empty = (w <= 0) | (h <= 0)
    visible = objects.visible()
    over = visible & (np.max([-x, -y, x + w - width, y + h - height], axis=0) > _EDGE)
    tiny = visible & (np.minimum(w, h) < 2)
    found = {
        'box without area': (empty, 'has bbox {box}, whose width and height must be positive'),
        'box outside its image': (
            ~empty & ~visible,
            'has bbox {box} in an image of {width} x {height}',
        ),
        'box beyond the edge': (
            over,
            'has bbox {box}, which leaves its image of {width} x {height}',
        ),
        'tiny box (< 2 px)': (tiny, 'has bbox {box}, a side of which is below 2 px'),
        'duplicate box': (_repeated(objects) & ~empty, 'repeats the bbox {box} of the same class'),
    }
    for kind, (rows, text) in found.items():
        yield from _at(kind, content, objects, np.flatnonzero(rows), text)


def _repeated(objects: Objects) -> np.ndarray:
    """Return which objects have image, class and box of one before them."""
    box = objects.box.round(2) + 0.0  # of -0.0 it makes 0.0
    columns = [objects.image, objects.label, objects.crowd.astype(np.int64)]
    code = np.zeros(len(box), dtype=np.uint64)
    for column in (*columns, *np.ascontiguousarray(box.T)):
        code = (code ^ column.view(np.uint64)) * np.uint64(_PRIME)
    # Few have the code of another; whether they are alike is seen in the values.
    _, place, counts = np.unique(code, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[place] > 1)
    key = np.column_stack([*(column[rows] for column in columns), box[rows]])
    _, first = np.unique(key, axis=0, return_index=True)
    repeated = np.zeros(len(box), dtype=bool)
    repeated[np.delete(rows, first)] = True
    return repeated


def _area_issues(
    content: dict[str, Any], objects: Objects, mask_area: np.ndarray, doubtful: np.ndarray
) -> Iterator[Issue]:
    w, h = objects.box[:, 2:].T
    sound = ~objects.crowd & (w > 0) & (h > 0)
    text = 'has an area that is zero or negative'
    rows = np.flatnonzero(sound & (objects.area <= 0))
    yield from _at('area not positive', content, objects, rows, text)
    # Counting pixels instead of measuring the outline changes an area by up to half its length.
    measured = ~np.isnan(mask_area) & ~doubtful
    off_mask = measured & (np.abs(objects.area - mask_area) > 0.1 * mask_area + w + h)
    off_box = ~measured & (objects.area > 1.1 * w * h + 4)
    rows = np.flatnonzero(sound & (objects.area > 0) & (off_mask | off_box))
    text = 'has an area that is not that of its mask or, where it has none, larger than its box'
    yield from _at('area differs from object', content, objects, rows, text)


def _empty_images(content: dict[str, Any]) -> Iterator[Issue]:
    used = {
        a['image_id']
        for a in content['annotations']
        if isinstance(a, dict) and is_id(a.get('image_id'))
    }
    for i, entry in enumerate(content['images']):
        if isinstance(entry, dict) and is_id(entry.get('id')) and entry['id'] not in used:
            name = str(entry.get('file_name'))
            message = f'{name} has no annotation'
            yield Issue('image without objects', name, message, False, ('images', i))


def _class_issues(objects: Objects, split: str) -> Iterator[Issue]:
    found = np.bincount(objects.label[~objects.crowd], minlength=len(objects.classes)).tolist()
    counts = list(zip(objects.classes, found, strict=True))
    for name in (name for name, count in counts if not count):
        message = f'class {name!r} has no object in {split}'
        yield Issue('class without objects', name, message, False)
    if split == 'train':
        yield from rare_classes(dict(counts), 'objects')
        yield from alike_classes(objects.classes)


def _disagreements(objects: dict[str, Objects]) -> Iterator[tuple[str, Issue]]:
    if not objects:
        return
    reference, *others = objects
    for name in others:
        differing = sorted(set(objects[reference].classes) ^ set(objects[name].classes))
        if differing:
            message = (
                f'{reference} and {name} disagree on the categories {differing}. Both must list '
                'the same categories, also those without objects.'
            )
            yield name, Issue('splits disagree on categories', ', '.join(differing), message, True)
