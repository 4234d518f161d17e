"""What the splits of a detection dataset must agree on: classes, and who has which image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from casvit_mm.datasets.files import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from casvit_mm.datasets.formats.coco_columns import Columns
from casvit_mm.datasets.formats.coco_values import is_id, is_size
from casvit_mm.datasets.formats.corners import count_corners
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.object_sources import LoadedSplit
from casvit_mm.detection.data.description import DetectionDescription

__all__ = [
    'corner_boxes',
    'empty_class',
    'image_files',
    'list_open_classes',
    'open_names',
    'small_images',
    'unlisted_images',
]


def list_open_classes(loaded: dict[str, LoadedSplit], names: tuple[str, ...]) -> None:
    """Give splits whose categories are those that occur the full list of them, in place.

    Names that are not in ``names`` follow behind them.
    """
    for split in loaded.values():
        if not split.open_classes:
            continue
        old = {category['id']: category['name'] for category in split.content['categories']}
        full = list(dict.fromkeys([*names, *old.values()]))
        for annotation in split.content['annotations']:
            annotation['category_id'] = full.index(old[annotation['category_id']]) + 1
        split.content['categories'] = [dict(id=i, name=name) for i, name in enumerate(full, 1)]


def open_names(loaded: dict[str, LoadedSplit]) -> tuple[str, ...]:
    """Return all category names that occur in splits with open classes, in alphabetical order."""
    return tuple(
        sorted(
            {c['name'] for s in loaded.values() if s.open_classes for c in s.content['categories']}
        )
    )


def empty_class(data: DetectionDescription, loaded: dict[str, LoadedSplit]) -> str | None:
    """Return what is wrong if a class has no object in train; None if nothing is.

    A class that a COCO file lists may be empty: somebody wrote it down on purpose.
    """
    train = loaded.get('train')
    if train is None or (data.classes is None and not train.open_classes):
        return None
    by_id = {category['id']: category['name'] for category in train.content['categories']}
    learnt = {
        by_id.get(a['category_id']) for a in train.content['annotations'] if not a.get('iscrowd')
    }
    empty = [name for name in by_id.values() if name not in learnt]
    if not empty:
        return None
    if data.classes is not None:
        return (
            f'{data.path}: classes leaves {empty[0]!r} without an object in train (it takes '
            f'{", ".join(data.classes[empty[0]])}). Correct the names, or leave the class out.'
        )
    return (
        f'{data.path}: class {empty[0]!r} occurs in another split but not in train. A typing '
        'error? Correct it there, or name the classes to learn under classes:'
    )


def corner_boxes(
    data: DetectionDescription, split: LoadedSplit, columns: Columns | None = None
) -> str | None:
    """Return what is wrong if boxes look like corners, and nobody says what they are; or None."""
    found = None if data.boxes else count_corners(split.content, columns)
    if found is None:
        return None
    return (
        f'{split.where}: the boxes look like corners [x1, y1, x2, y2]; COCO format has [x, y, '
        f'width, height]. {found[0]} of {found[1]} leave their image or contradict their area or '
        f'mask otherwise. If they are corners, write boxes: corners in {data.path}; if not, '
        'boxes: sizes.'
    )


def image_files(loaded: dict[str, LoadedSplit]) -> dict[str, set[str]]:
    """Return the paths of the image files that each split lists."""
    return {
        name: {
            os.path.normpath(os.path.join(split.images, image['file_name']))
            for image in split.content['images']
            if isinstance(image, dict) and isinstance(image.get('file_name'), str)
        }
        for name, split in loaded.items()
    }


def unlisted_images(data: DetectionDescription, loaded: dict[str, LoadedSplit]) -> str | None:
    """Return how many images lie beside those that the splits list; None if none do.

    A list beside the annotations leaves images out on purpose.
    """
    if any(source.image_list for sources in data.splits.values() for source in sources):
        return None
    listed = {path for files in image_files(loaded).values() for path in files}
    found = [
        entry.path
        for folder in sorted({os.path.dirname(path) for path in listed})
        if os.path.isdir(folder)
        for entry in os.scandir(folder)
        if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES | UNREAD_SUFFIXES
    ]
    unlisted = sorted(set(found) - listed)
    if not unlisted:
        return None
    return (
        f'{len(unlisted)} of {len(found)} images in the folders of the splits are in no annotation '
        f'file, first {unlisted[0]}: neither learnt nor scored'
    )


def small_images(content: dict[str, Any], least_side: int) -> Iterator[Issue]:
    """Find the images of train that mmdet leaves out for their size.

    Args:
        content: Lists of images, annotations and categories.
        least_side: Pixels that width and height must have, as ``min_size`` of the config says.
    """
    images = [(i, e) for i, e in enumerate(content['images'] or ()) if isinstance(e, dict)]
    sized = [(i, e) for i, e in images if is_size(e.get('width'), e.get('height'))]
    small = {i: e for i, e in sized if min(e['width'], e['height']) < least_side}
    if not small:
        return
    advice = 'set filter_cfg.min_size of the train dataset lower, or resize the images'
    for i, entry in small.items():
        name = str(entry.get('file_name'))
        message = (
            f'{name} has {entry["width"]} x {entry["height"]} pixels, and the config leaves images '
            f'with a side below {least_side} out of training; {advice}'
        )
        yield Issue('small image', name, message, False, ('images', i))
    annotations = [e for e in content['annotations'] or () if isinstance(e, dict)]
    with_objects = {e.get('image_id') for e in annotations if is_id(e.get('image_id'))}
    left = [e for i, e in sized if i not in small and e.get('id') in with_objects]
    if not left:
        message = (
            f'every image of train that has objects is left out of training by the config, since a '
            f'side is below {least_side} pixels; {advice}'
        )
        yield Issue('no image left', 'train', message, True)
