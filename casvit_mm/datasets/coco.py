"""Checks of COCO-format annotation files, made before any work depends on them."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.errors import InputError

__all__ = ['CocoSummary', 'check_coco']

_NEEDED = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}


@dataclass(frozen=True)
class CocoSummary:
    """What a checked annotation file holds.

    Attributes:
        classes: Category names in the order of their ids.
        num_images: Images listed.
        num_objects: Annotations that can be learnt from or evaluated: no crowd, and a box of at
            least one pixel inside its image.
    """

    classes: tuple[str, ...]
    num_images: int
    num_objects: int


def check_coco(
    annotations: str | Path, images: str | Path, field: str, with_masks: bool = False
) -> CocoSummary:
    """Check a COCO annotation file and that its images exist.

    Args:
        annotations: The JSON file.
        images: The folder that ``file_name`` counts from.
        field: Where the user named the file, for messages.
        with_masks: Whether every object needs a segmentation.

    Raises:
        InputError: If the file is missing, not JSON or lacks a field; an id is unknown or occurs
            twice; a box or segmentation is malformed; no object is left; or an image is missing.
    """
    where = f'{annotations} ({field})'
    return check_content(read_coco(Path(annotations), where), Path(images), where, with_masks)


def check_content(
    content: dict[str, Any], images: Path, where: str, with_masks: bool = False
) -> CocoSummary:
    """Check COCO content that was read already; see :func:`check_coco`."""
    _check_fields(content, where)
    names = _check_categories(content['categories'], where)
    sizes = _check_images(content['images'], images, where)

    _check_unique(content['annotations'], 'annotations', where)
    num_objects = 0
    for annotation in content['annotations']:
        num_objects += _check_annotation(annotation, names, sizes, with_masks, where)
    if num_objects == 0:
        raise InputError(
            f'{where} has no usable annotation: {len(content["annotations"])} listed, none of them '
            'a non-crowd box of at least 1 px inside its image. Annotate some objects, or name '
            'another file.'
        )
    return CocoSummary(tuple(names[i] for i in sorted(names)), len(sizes), num_objects)


def read_coco(path: Path, where: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f'annotation file {where} does not exist')
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f'annotation file {where} is not JSON: {error}. Export it again.'
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f'annotation file {where} holds a {type(content).__name__}, not an object with '
            f'{", ".join(_NEEDED)}. Is it a file of results? Name the ground truth.'
        )
    return content


def _check_fields(content: dict[str, Any], where: str) -> None:
    for section, fields in _NEEDED.items():
        if not isinstance(content.get(section), list):
            raise InputError(f'annotation file {where} lacks the list {section!r} of COCO format')
        for i, entry in enumerate(content[section]):
            missing = [f for f in fields if not isinstance(entry, dict) or f not in entry]
            if missing:
                raise InputError(
                    f'annotation file {where}: {section}[{i}] lacks {", ".join(map(repr, missing))}'
                    f'. COCO format needs {", ".join(fields)} for every entry of {section!r}.'
                )


def _check_unique(entries: list[dict], section: str, where: str, key: str = 'id') -> None:
    counts = Counter(entry[key] for entry in entries)
    twice = [value for value, count in counts.items() if count > 1]
    if twice:
        raise InputError(
            f'annotation file {where}: {len(twice)} values of {section}.{key} occur more than '
            f'once, first {twice[0]!r}. Make them unique.'
        )


def _check_categories(categories: list[dict], where: str) -> dict[int, str]:
    _check_unique(categories, 'categories', where)
    _check_unique(categories, 'categories', where, key='name')
    return {category['id']: category['name'] for category in categories}


def _check_images(entries: list[dict], folder: Path, where: str) -> dict[int, tuple[int, int]]:
    """Return (width, height) per image id."""
    _check_unique(entries, 'images', where)
    for entry in entries:
        width, height = entry['width'], entry['height']
        if not all(isinstance(side, int) and side > 0 for side in (width, height)):
            raise InputError(
                f'annotation file {where}: image {entry["id"]} ({entry["file_name"]}) has width '
                f'{width!r} and height {height!r}; both must be positive integers, in pixels'
            )
    if not folder.is_dir():
        raise InputError(f'image folder {folder} of {where} does not exist')
    # One listing per folder: asking for 118,000 files one by one is slow on network disks.
    listing: dict[Path, set[str]] = {}
    missing = []
    for entry in entries:
        path = folder / entry['file_name']
        if path.parent not in listing:
            listing[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in listing[path.parent]:
            missing.append(entry['file_name'])
    if missing:
        raise InputError(
            f'{len(missing)} of {len(entries)} images of {where} are missing in {folder}: '
            f'{", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}. Correct the image '
            'folder, or file_name in the annotation file.'
        )
    return {entry['id']: (entry['width'], entry['height']) for entry in entries}


def _check_annotation(
    annotation: dict[str, Any],
    names: dict[int, str],
    sizes: dict[int, tuple[int, int]],
    with_masks: bool,
    where: str,
) -> bool:
    """Check one annotation and return whether it is a usable object."""
    which = f'annotation file {where}: annotation {annotation.get("source", annotation["id"])}'
    if annotation['category_id'] not in names:
        raise InputError(
            f'{which} has category_id {annotation["category_id"]!r}, which is not in categories '
            f'{dict(list(names.items())[:8])}. Add the category or correct the id.'
        )
    if annotation['image_id'] not in sizes:
        raise InputError(
            f'{which} has image_id {annotation["image_id"]!r}, which is not in images. '
            'Add the image or remove the annotation.'
        )
    box = annotation['bbox']
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(v, (int, float)) and abs(v) < float('inf') for v in box)
    ):
        raise InputError(f'{which} has bbox {box!r}; expected [x, y, width, height] in pixels')
    area = annotation['area']
    if not isinstance(area, (int, float)):
        raise InputError(f'{which} has area {area!r}; expected a number of pixels')
    if with_masks and not _is_segmentation(annotation.get('segmentation')):
        raise InputError(
            f'{which} has no polygon (3 points or more) or RLE under segmentation, which Mask '
            'R-CNN learns from. Add it, or train boxes alone with a retinanet config.'
        )
    x, y, w, h = box
    width, height = sizes[annotation['image_id']]
    inside = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
    return inside and w >= 1 and h >= 1 and area > 0 and not annotation.get('iscrowd', 0)


def _is_segmentation(value: Any) -> bool:
    if isinstance(value, dict):
        return 'counts' in value and 'size' in value
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 for p in value)
    )
