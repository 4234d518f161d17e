"""Checks of COCO-format annotations, made before any work depends on them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.cli import job_command
from casvit_mm.datasets.files import is_listed
from casvit_mm.datasets.formats.coco_columns import Columns, read_columns
from casvit_mm.datasets.formats.coco_file import read_plain_annotations
from casvit_mm.datasets.formats.coco_index import write_indexed
from casvit_mm.datasets.formats.coco_values import (
    is_box,
    is_id,
    is_number,
    is_polygon,
    is_size,
    name_annotation,
)
from casvit_mm.datasets.formats.rle import find_rle_fault
from casvit_mm.datasets.formats.usable import describe_obstacles, find_obstacle
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.near_names import images_below, near_names
from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit

__all__ = [
    'CocoSummary',
    'check_coco',
    'check_content',
    'find_issues',
]

_NEEDED = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}

_FLAGS = ('iscrowd', 'ignore')


@dataclass(frozen=True)
class CocoSummary:
    """What checked annotations hold.

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
    annotations: str | Path,
    images: str | Path,
    field: str,
    with_masks: bool = False,
    without_labels: bool = False,
    copy: Path | None = None,
) -> CocoSummary:
    """Check a COCO annotation file and that its images exist.

    Args:
        annotations: The JSON file.
        images: The folder that ``file_name`` counts from.
        field: Where the user named the file, for messages.
        with_masks: Whether every object needs a segmentation.
        without_labels: Whether the file may hold images and no annotations at all.
        copy: Where to write the content, with an index by image; None writes nothing.

    Raises:
        InputError: If the file is missing, not JSON or lacks a field, or is one that mmdet would
            take for something else; an id is unknown or occurs twice; a box or segmentation is
            malformed; no object is left; an image is missing; or the copy cannot be written.
    """
    where = f'annotation file {annotations} ({field})'
    content = read_plain_annotations(annotations, where)
    columns = read_columns(content)
    summary = check_content(content, images, where, with_masks, without_labels, columns)
    if copy is not None:
        write_indexed(copy, content, plain=columns is not None)
    return summary


def check_content(
    content: dict[str, Any],
    images: str | Path,
    where: str,
    with_masks: bool = False,
    without_labels: bool = False,
    columns: Columns | None = None,
) -> CocoSummary:
    """Check annotations of COCO format that are in memory already.

    Args:
        content: Lists of images, annotations and categories.
        images: The folder that ``file_name`` counts from.
        where: What messages call the annotations.
        with_masks: Whether every object needs a segmentation.
        without_labels: Whether there may be images and no annotations at all.
        columns: What :func:`read_columns` returns of the content, where that is known.

    Raises:
        InputError: For the first of :func:`find_issues`, saying how many there are.
    """
    columns = columns or read_columns(content)
    issues = _find_issues(content, Path(images), with_masks, without_labels, columns)
    fatal = [issue for issue in issues if issue.fatal]
    if fatal:
        more = f'\n{len(fatal) - 1} more such issues; {job_command("check_data")} lists them all.'
        raise InputError(f'{where}: {fatal[0].message}{more if len(fatal) > 1 else ""}')
    names = {category['id']: category['name'] for category in content['categories']}
    classes = tuple(names[i] for i in sorted(names))
    if columns is not None:
        return CocoSummary(classes, len(content['images']), int(columns.usable().sum()))
    sizes = _sizes(content['images'])
    usable = sum(find_obstacle(a, sizes) is None for a in content.get('annotations', ()))
    return CocoSummary(classes, len(sizes), usable)


def find_issues(
    content: dict[str, Any], images: Path, with_masks: bool, without_labels: bool = False
) -> list[Issue]:
    """Return everything that training refuses, in the order of the file; reads no image.

    Args:
        content: Lists of images, annotations and categories.
        images: The folder that ``file_name`` counts from.
        with_masks: Whether every object needs a segmentation.
        without_labels: Whether there may be images and no annotations at all.
    """
    return _find_issues(content, images, with_masks, without_labels, read_columns(content))


def _find_issues(
    content: dict[str, Any],
    images: Path,
    with_masks: bool,
    without_labels: bool,
    columns: Columns | None,
) -> list[Issue]:
    """Find the issues of content, whose annotations are ``columns`` if all are well-formed."""
    unlabelled = without_labels and not content.get('annotations')
    if unlabelled:
        content = {**content, 'annotations': []}
    missing = [section for section in _NEEDED if not isinstance(content.get(section), list)]
    if missing:
        return [
            Issue('missing list', repr(s), f'it lacks the list {s!r} of COCO format', True)
            for s in missing
        ]
    sections = list(_NEEDED) if columns is None else ['categories']
    issues = [d for section in sections for d in _field_issues(content[section], section)]
    broken = {issue.entry for issue in issues}
    images_left, categories = (
        [(i, e) for i, e in enumerate(content[s]) if (s, i) not in broken]
        for s in ('images', 'categories')
    )
    issues += _duplicates(categories, 'categories', 'id')
    issues += _duplicates(categories, 'categories', 'name')
    issues += _duplicates(images_left, 'images', 'id')
    issues += _same_files(images_left)
    if columns is None:
        issues += _size_issues(images_left)
    issues += _missing_images(images_left, images)
    sizes = _sizes(e for _, e in images_left)
    annotations = content['annotations']
    if columns is None:
        sound = [(i, e) for i, e in enumerate(annotations) if ('annotations', i) not in broken]
        issues += _duplicates(sound, 'annotations', 'id')
        issues += _entry_issues(content, sound, sizes, with_masks)
    else:
        if len(np.unique(columns.id)) < len(annotations):
            issues += _duplicates(list(enumerate(annotations)), 'annotations', 'id')
        for index, annotation in enumerate(annotations if with_masks else ()):
            if not isinstance(annotation.get('segmentation'), bytes):
                issues += _segmentation_issues(index, annotation, sizes)
    usable = columns is not None and columns.usable().any()
    if usable or unlabelled or any(find_obstacle(a, sizes) is None for a in annotations):
        return issues
    obstacles = [find_obstacle(a, sizes) for a in annotations]
    where = f'{len(obstacles)} annotations'
    return [*issues, Issue('no usable object', where, describe_obstacles(obstacles), True)]


def _entry_issues(
    content: dict[str, Any],
    annotations: list[tuple[int, dict]],
    sizes: dict[int, tuple[int, int]],
    with_masks: bool,
) -> Iterator[Issue]:
    """Find what is wrong with annotations that have all fields, one by one."""
    # An entry that lacks something else is known all the same: one mistake, one issue.
    names = {e['id']: e.get('name') for e in content['categories'] if _has_id(e)}
    known = {e['id'] for e in content['images'] if _has_id(e)}
    for index, annotation in annotations:
        yield from _annotation_issues(index, annotation, names, known)
        yield from _flag_issues(index, annotation)
        if with_masks:
            yield from _segmentation_issues(index, annotation, sizes)


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and is_id(entry.get('id'))


def _sizes(images: Any) -> dict[int, tuple[int, int]]:
    """Return (width, height) per image id, of those that have a possible one."""
    return {e['id']: (e['width'], e['height']) for e in images if _has_size(e)}


def _has_size(entry: dict) -> bool:
    return is_size(entry.get('width'), entry.get('height'))


def _field_issues(entries: list, section: str) -> Iterator[Issue]:
    """Find entries without a field, and fields that everything else relies on of a wrong type."""
    fields = _NEEDED[section]
    text = {'images': 'file_name', 'categories': 'name'}.get(section)
    for i, entry in enumerate(entries):
        at = (section, i)
        place = f'{section}[{i}]'
        if isinstance(entry, dict) and isinstance(entry.get('source'), str):
            place += f' ({entry["source"]})'
        missing = [f for f in fields if not isinstance(entry, dict) or f not in entry]
        wrong = 'malformed category' if section == 'categories' else 'malformed entry'
        if missing:
            lacking = wrong if section == 'categories' else 'missing field'
            message = (
                f'{place} lacks {", ".join(map(repr, missing))}. COCO format needs '
                f'{", ".join(fields)} for every entry of {section!r}.'
            )
            yield Issue(lacking, place, message, True, at)
        elif not is_id(entry['id']):
            message = f'{place} has id {entry["id"]!r}; ids are whole numbers, without quotes'
            yield Issue(wrong, place, message, True, at)
        elif text and not (isinstance(entry[text], str) and entry[text].strip()):
            message = f'{place} has {text} {entry[text]!r}; expected some text'
            yield Issue(wrong, place, message, True, at)


def _duplicates(entries: list[tuple[int, dict]], section: str, key: str) -> Iterator[Issue]:
    """Find every entry whose value occurred before."""
    counts = Counter(entry[key] for _, entry in entries)
    if len(counts) == len(entries):
        return
    total = sum(count > 1 for count in counts.values())
    kind = {'categories': 'category', 'images': 'image id', 'annotations': 'annotation id'}[section]
    seen = set()
    for i, entry in entries:
        value = entry[key]
        if counts[value] > 1 and value in seen:
            advice = 'Make them unique.'
            if key == 'name':
                advice = (
                    'If they mean one class, as a root category that Roboflow names like its only '
                    f'child, join them in dataset.yaml by classes: [{", ".join(counts)}]'
                )
            message = (
                f'{total} value(s) of {section}.{key} occur more than once, among them {value!r}. '
                f'{advice}'
            )
            yield Issue(f'duplicate {kind}', f'{key} {value!r}', message, True, (section, i))
        seen.add(value)


def _same_files(images: list[tuple[int, dict]]) -> Iterator[Issue]:
    """Find every entry that lists a file which an entry of another id lists before it."""
    first: dict[str, dict] = {}
    for i, entry in images:
        other = first.setdefault(os.path.normpath(entry['file_name']), entry)
        if other['id'] != entry['id']:
            name = entry['file_name']
            message = (
                f'{name} is listed under the image ids {other["id"]} and {entry["id"]}, so the '
                'objects of one entry would be learnt as background in the other. Give them one '
                'id; --fix does.'
            )
            yield Issue('file under two image ids', name, message, True, ('images', i))


def _size_issues(images: list[tuple[int, dict]]) -> Iterator[Issue]:
    for i, entry in images:
        if not _has_size(entry):
            message = (
                f'image {entry["id"]} ({entry["file_name"]}) has width {entry["width"]!r} and '
                f'height {entry["height"]!r}; both must be positive integers, in pixels, and '
                f'{pixel_limit():,} pixels at most'
            )
            at = ('images', i)
            yield Issue('impossible image size', entry['file_name'], message, True, at)


def _missing_images(images: list[tuple[int, dict]], folder: Path) -> Iterator[Issue]:
    if not folder.is_dir():
        message = f'its image folder {folder} does not exist'
        yield Issue('missing folder', str(folder), message, True)
        return
    # One listing per folder: asking for 118,000 files one by one is slow on network disks.
    listing: dict[str, set[str]] = {}
    missing = []
    for i, entry in images:
        if not is_listed(folder, entry['file_name'], listing):
            missing.append((i, entry['file_name']))
    near = near_names([name for _, name in missing], images_below(folder)) if missing else {}
    for i, name in missing:
        link = folder / name
        what = ''
        if os.path.islink(link):
            what = f', a link to {os.readlink(link)}, which is not there'
        elif name in near:
            what = f'; {near[name]}'
        message = (
            f'{len(missing)} of {len(images)} images are missing in {folder}, among them {name}'
            f'{what}. Correct the image folder, or file_name in the annotations.'
        )
        yield Issue('missing image', name, message, True, ('images', i))


def _annotation_issues(
    index: int, annotation: dict[str, Any], names: dict[int, Any], known: set[int]
) -> Iterator[Issue]:
    """Find what is wrong with one annotation that has all fields."""
    which, at = name_annotation(annotation), ('annotations', index)
    category, image = annotation['category_id'], annotation['image_id']
    if not is_id(category) or category not in names:
        first = dict(list(names.items())[:8])
        message = (
            f'{which} has category_id {category!r}, which is not in categories {first}. '
            'Add the category or correct the id.'
        )
        yield Issue('unknown category', which, message, True, at)
    if not is_id(image) or image not in known:
        message = (
            f'{which} has image_id {image!r}, which is not in images. '
            'Add the image or remove the annotation.'
        )
        yield Issue('unknown image', which, message, True, at)
    if not is_box(annotation['bbox']):
        box = annotation['bbox']
        message = f'{which} has bbox {box!r}; expected [x, y, width, height] in pixels'
        yield Issue('malformed box', which, message, True, at)
    if not is_number(annotation['area']):
        message = f'{which} has area {annotation["area"]!r}; expected a number of pixels'
        yield Issue('malformed area', which, message, True, at)


def _flag_issues(index: int, annotation: dict[str, Any]) -> Iterator[Issue]:
    which, at = name_annotation(annotation), ('annotations', index)
    for field in _FLAGS:
        value = annotation.get(field, 0)
        if not (is_id(value) and value in (0, 1)):
            message = f'{which} has {field} {value!r}; expected 0 or 1'
            yield Issue('malformed flag', which, message, True, at)
    if annotation.get('ignored'):
        message = f'{which} has ignore: 1, and is taken for a crowd: not learnt, not counted'
        yield Issue('object to be ignored', which, message, False, at)


def _segmentation_issues(
    index: int, annotation: dict[str, Any], sizes: dict[int, tuple[int, int]]
) -> Iterator[Issue]:
    which, at = name_annotation(annotation), ('annotations', index)
    segmentation, image = annotation.get('segmentation'), annotation['image_id']
    if not _is_segmentation(segmentation):
        message = (
            f'{which} has no polygon (3 points or more) or RLE under segmentation, which Mask '
            'R-CNN learns from. Add it, or train boxes alone with a retinanet config.'
        )
        kind = 'broken polygon' if segmentation else 'object without mask'
        yield Issue(kind, which, message, True, at)
    elif isinstance(segmentation, dict):
        fault = find_rle_fault(segmentation, sizes.get(image) if is_id(image) else None)
        if fault:
            yield Issue(fault[0], which, f'{which} {fault[1]}.', True, at)


def _is_segmentation(value: Any) -> bool:
    if isinstance(value, dict):
        return 'counts' in value and 'size' in value
    if isinstance(value, bytes):  # packed, and sound by that
        return True
    return isinstance(value, list) and bool(value) and all(map(is_polygon, value))
