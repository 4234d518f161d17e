"""Annotated objects as segmentation masks: one value per pixel of what polygons and RLE surround.

The rule, for every format: larger objects are drawn first, so that a small one in front of or
inside a large one stays visible; of two of one area the later wins. Which pixels a polygon covers
is what pycocotools says. Several polygons of an object are one, and what an RLE leaves out is a
hole. A crowd with a mask has its class, as in COCO-Stuff. Pixels of no object are ``background``.
Neither learnt nor scored (255) are objects to be ignored, classes under ``ignore``, and the box of
an object, or of a crowd, that has no outline, where nothing else is drawn.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit_mm.datasets.formats.coco import find_issues
from casvit_mm.datasets.formats.coco_values import is_box, is_id, is_number, is_polygon, is_size
from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.formats.packed import plain_outline
from casvit_mm.datasets.formats.rle import find_rle_fault
from casvit_mm.datasets.image_scan import read_in_threads
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.object_description import ObjectDescription
from casvit_mm.datasets.object_sources import LoadedSplit, load_split
from casvit_mm.datasets.scan_memory import cache_folder
from casvit_mm.errors import InputError
from casvit_mm.io import replacing

__all__ = ['IGNORED', 'category_names', 'draw_objects', 'rasterise_split']

IGNORED = 255  # mmseg pads labels with it
_RULES = 1  # to be raised when pixels are drawn otherwise


def category_names(
    objects: ObjectDescription, read: dict[str, LoadedSplit] | None = None
) -> tuple[str, ...]:
    """Return the classes of annotated objects, before any is dropped: as they are listed, else all.

    Args:
        objects: The description.
        read: Takes the splits that had to be read, as :func:`rasterise_split` takes them.

    Raises:
        InputError: If the annotations cannot be read.
    """
    if objects.classes is not None:
        return tuple(objects.classes)
    whole = replace(objects, split=None)
    found: set[str] = set()
    for name in objects.used_splits(objects.splits):
        loaded = load_split(whole, name)
        if read is not None:
            read[name] = loaded
        listed = loaded.content.get('categories') or ()
        names = [str(c['name']) for c in listed if isinstance(c, dict) and 'name' in c]
        if not loaded.open_classes:
            return tuple(names)
        found |= set(names)
    return tuple(sorted(found))


def rasterise_split(
    objects: ObjectDescription,
    split: str,
    values: dict[str, int],
    background: int,
    read: dict[str, LoadedSplit] | None = None,
) -> tuple[list[tuple[str, str]], list[Issue]]:
    """Draw the objects of every image of a split into a mask.

    The masks lie in the cache, see :mod:`casvit_mm.datasets.scan_memory`, by what is drawn.

    Args:
        objects: The description; a set that is taken apart is drawn as a whole.
        split: Its split.
        values: By class, the value of its pixels.
        background: Value of the pixels of no object.
        read: Splits that were read already; this one is taken out.

    Returns:
        Images and masks, in the order of the annotations; and what is wrong with them.
    """
    try:
        loaded = (read or {}).pop(split, None) or load_split(replace(objects, split=None), split)
    except InputError as error:
        return [], [Issue('unreadable annotations', split, str(error), True)]
    issues = list(_issues(loaded, values, split))
    if any(issue.kind == 'unreadable annotations' for issue in issues):
        return [], issues
    drawn = _drawn_objects(loaded.content, values)
    folder = _folder()
    jobs = [
        (entry, drawn.get(entry['id'], []), folder, background)
        for entry in loaded.content['images']
        if _is_sound(entry)
    ]
    labels = read_in_threads(lambda job: _write_label(*job), jobs, f'drawing masks of {split}')
    pairs = []
    for (entry, *_), label in zip(jobs, labels, strict=True):
        path = os.path.abspath(loaded.images / entry['file_name'])
        if isinstance(label, Issue):
            issues.append(label)
        elif os.path.isfile(path):
            pairs.append((path, str(label)))
    return pairs, issues


def _is_sound(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get('file_name'), str):
        return False
    return is_id(entry.get('id')) and is_size(entry.get('width'), entry.get('height'))


def _issues(loaded: LoadedSplit, values: dict[str, int], split: str) -> Iterator[Issue]:
    """Yield what is wrong with the annotations of a split, and what is left out of them."""
    content = loaded.content
    for issue in find_issues(content, loaded.images, True, split == 'test'):
        if issue.kind == 'missing list':
            yield Issue('unreadable annotations', split, f'{loaded.where}: {issue.message}', True)
        elif issue.kind != 'object without mask' and issue.fatal:
            message = f'{loaded.where}: {issue.kind}: {issue.message}'
            yield Issue('unreadable source', issue.where, message, True)
    for place, message in loaded.unreadable:
        yield Issue('unreadable source', place, message, True)
    for place, message in loaded.unused:
        yield Issue('files not used', place, message, False)
    for place, message in loaded.skipped:
        yield Issue('annotations not used', place, message, False)
    for name, count in loaded.dropped.items():
        message = f'{count} object(s) of {name!r} are left out by classes: background'
        yield Issue('annotations not used', name, message, False)
    yield from _unknown_and_boxes(loaded, values)


def _unknown_and_boxes(loaded: LoadedSplit, values: dict[str, int]) -> Iterator[Issue]:
    if other := sorted(set(_names(loaded.content).values()) - set(values)):
        message = (
            f'{loaded.where} has categories that train does not have: {", ".join(other)}. Every '
            'split must list the same; classes: in a dataset.yaml renames and drops.'
        )
        yield Issue('unreadable annotations', other[0], message, True)
    annotations = [a for a in loaded.content.get('annotations') or () if isinstance(a, dict)]
    boxes = [a for a in annotations if not a.get('segmentation')]
    if boxes and len(boxes) == len(annotations):
        message = (
            f'{loaded.where} has boxes alone ({len(boxes)}), and segmentation needs outlines or '
            'masks. Draw them, or train a detector: configs/retinanet_casvit_xs_light.py.'
        )
        yield Issue('unreadable annotations', str(loaded.where), message, True)
    elif boxes:
        which = boxes[0].get('source', boxes[0].get('id'))
        message = (
            f'{len(boxes)} of {len(annotations)} object(s) have a box and no outline; the rest of '
            f'the box is neither learnt nor scored. First {which}'
        )
        yield Issue('object without mask', str(which), message, False)


def _names(content: dict[str, Any]) -> dict[int, str]:
    """Return the names of the sound categories by their ids."""
    return {
        entry['id']: entry['name']
        for entry in content.get('categories') or ()
        if isinstance(entry, dict) and is_id(entry.get('id')) and isinstance(entry.get('name'), str)
    }


def _drawn_objects(content: dict[str, Any], values: dict[str, int]) -> dict[Any, list[Any]]:
    """Return by image what is drawn, in order: value, segmentation, and box where there is none."""
    names = _names(content)
    found: dict[Any, list[tuple[float, Any]]] = {}
    for entry in content['annotations']:
        if not isinstance(entry, dict):
            continue  # find_issues says what is wrong
        image, category = entry.get('image_id'), entry.get('category_id')
        if not (is_id(image) and is_id(category)):
            continue
        value = values.get(names.get(category or 0, ''), IGNORED)
        outline = entry.get('segmentation') or None
        if outline is None or entry.get('ignored'):
            value = IGNORED
        box, area = entry.get('bbox'), entry.get('area')
        if outline is None and not is_box(box):
            continue
        # A box is drawn before all outlines.
        order = float('inf') if outline is None else float(area) if is_number(area) else 0.0
        job = [value, outline, box if outline is None else None]
        found.setdefault(image, []).append((order, job))
    # The sort is stable: of two of one area the later comes last.
    return {
        image: [job for _, job in sorted(jobs, key=lambda pair: -pair[0])]
        for image, jobs in found.items()
    }


def draw_objects(jobs: list[Any], width: int, height: int, background: int) -> np.ndarray:
    """Return the mask of an image, uint8 ``(H, W)``.

    Args:
        jobs: What is drawn, in order: ``[value, segmentation, box]``, with polygons or RLE of COCO,
            or with None and a box ``[x, y, width, height]``.
        width: Of the image.
        height: Of the image.
        background: Value of the pixels of no object.
    """
    label = np.full((height, width), background, dtype=np.uint8)
    for value, outline, box in jobs:
        if outline is not None and not _is_drawable(outline, (width, height)):
            continue  # find_issues says what is wrong
        if outline is not None:
            label[decode_segmentation(outline, width, height)] = value
            continue
        x, y, w, h = box
        left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
        label[top : max(0, int(np.ceil(y + h))), left : max(0, int(np.ceil(x + w)))] = value
    return label


def _is_drawable(outline: Any, size: tuple[int, int]) -> bool:
    """Return whether pycocotools can be given an outline: it checks nothing itself."""
    if isinstance(outline, dict):
        return find_rle_fault(outline, size) is None
    return isinstance(outline, list) and all(map(is_polygon, outline))


def _write_label(
    entry: dict[str, Any], jobs: list[Any], folder: Path, background: int
) -> Path | Issue:
    """Write the mask of an image, unless it is there; return its path, or what is wrong."""
    width, height = entry['width'], entry['height']
    jobs = [[value, plain_outline(outline), box] for value, outline, box in jobs]
    text = json.dumps([_RULES, width, height, background, jobs], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    path = folder / digest / f'{Path(entry["file_name"]).stem}.png'
    if path.exists():
        return path
    try:
        label = draw_objects(jobs, width, height, background)
    except Exception as error:  # of a mask that is damaged; find_issues says how
        message = f'the objects of {entry["file_name"]} cannot be drawn: {error}'
        return Issue('unreadable source', str(entry['file_name']), message, True)
    with replacing(path, 'wb', part=f'.{os.getpid()}') as file:
        Image.fromarray(label).save(file, 'PNG')
    return path


def _folder() -> Path:
    """Return where masks are kept: the cache, else a folder that lasts until the next start."""
    top = cache_folder()
    return Path(tempfile.gettempdir(), 'casvit_mm') / 'masks' if top is None else top / 'masks'
