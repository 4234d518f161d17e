"""What is written in another format: images with their objects, and what the format cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.contours import join_outlines, trace_mask
from casvit_mm.datasets.formats.outlines import (
    decode_segmentation,
    mask_fields,
    polygon_fields,
)
from casvit_mm.datasets.formats.rle import find_rle_fault

__all__ = ['HELD', 'ImageLabels', 'LabelledSet', 'Writer', 'one_outline', 'outlines_of']

# What a format may hold of an object beside its class and its box.
HELD = ('outlines', 'masks', 'parts', 'crowds', 'attributes', 'areas', 'ids', 'scores')
_KNOWN = {
    *('id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation', 'iscrowd', 'attributes'),
    *('score', 'source', 'ignored', 'ignore'),
}
_SAME = 1e-6  # of a side of the image, within which boxes are one
_SAME_AREA = 1e-6  # share within which areas are one

Object = dict[str, Any]


@dataclass
class ImageLabels:
    """An image and what is said of it.

    Attributes:
        file: The image.
        name: Path that it gets in the folder of images of its split.
        width: Upright, in pixels.
        height: Likewise.
        objects: Annotations of COCO format, with the ids of :attr:`LabelledSet.categories`.
        classes: Of a classified image its classes, with their scores or None.
        entry: What COCO's list of images said of it.
    """

    file: Path
    name: str
    width: int
    height: int
    objects: list[Object] = field(default_factory=list)
    classes: list[tuple[str, float | None]] = field(default_factory=list)
    entry: dict[str, Any] = field(default_factory=dict)


@dataclass
class LabelledSet:
    """Images by split, and their classes.

    Attributes:
        task: ``'detection'``, ``'segmentation'`` or ``'classification'``.
        categories: ``id`` and ``name`` of the classes, in their order.
        splits: Images by the name of their split.
        predicted: Whether a model has labelled them, and not a person.
        lost: What was not written, with its number.
        fields: Further fields for a description of ours.
        more: What else the COCO files said, by split.
    """

    task: str
    categories: list[dict[str, Any]]
    splits: dict[str, list[ImageLabels]]
    predicted: bool = False
    lost: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Any] = field(default_factory=dict)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def names(self) -> dict[int, str]:
        """Names of the classes by their ids."""
        return {category['id']: category['name'] for category in self.categories}

    def images(self) -> Iterator[ImageLabels]:
        """Yield the images of all splits."""
        for images in self.splits.values():
            yield from images


@dataclass(frozen=True)
class Writer:
    """A format to write.

    Attributes:
        name: What messages call it.
        held: Which of :data:`HELD` it holds.
        write: Writes everything but the images into a folder, after :meth:`keep_held`, and returns
            the path from it that ``--data`` reads; None where that is the folder itself.
        image_folder: Folder of the images, in which ``{split}`` is the name of the split.
        classifies: Whether it holds classes of whole images.
        flat: Whether all images lie in one folder.
        subfolders: Whether the name of an image begins with its split, where there are several.
        one_stem: Whether no two images of a folder may have one name without suffix.
    """

    name: str
    held: frozenset[str]
    write: Callable[[LabelledSet, Path], str | None]
    image_folder: str = 'images/{split}'
    classifies: bool = False
    flat: bool = False
    subfolders: bool = False
    one_stem: bool = True

    def keep_held(self, labelled: LabelledSet) -> None:
        """Count what the format does not hold; take out what would become something else."""
        lost = labelled.lost
        for split in labelled.splits.values():
            for position, image in enumerate(split, 1):
                known = image.entry.get('id', position) == position or 'ids' in self.held
                lost['ids of images, which were not 1, 2, ...'] += not known
                kept = []
                for one in image.objects:
                    if one.get('iscrowd') and 'crowds' not in self.held:
                        lost['crowds, which readers would take for single objects: left out'] += 1
                    elif min(one['bbox'][2:]) <= 0 and 'ids' not in self.held:
                        lost['boxes without area: left out'] += 1
                    else:
                        kept.append(self._held_of(one, image, lost))
                image.objects = kept

    def _held_of(self, one: Object, image: ImageLabels, lost: Counter[str]) -> Object:
        """Return an object as the format can hold it."""
        if 'ids' in self.held:  # COCO alone, which holds everything
            return one
        for key in sorted(set(one) - _KNOWN):
            lost[f'fields of objects: {key}'] += 1
        lost['scores'] += 'score' in one and 'scores' not in self.held
        lost['attributes of objects'] += (
            bool(one.get('attributes')) and 'attributes' not in self.held
        )
        outline = one.get('segmentation')
        if outline and 'outlines' not in self.held:
            lost['outlines and masks; the boxes are written'] += 1
            return one
        measured = _measure(outline, image) if outline else None
        if outline and measured is None:
            lost['outlines and masks that surround nothing; the boxes are written'] += 1
        if measured is None:
            _, _, w, h = one['bbox']
            lost['areas that are not those of the boxes'] += not _same_area(one['area'], w * h)
            return {key: value for key, value in one.items() if key != 'segmentation'}
        box, area = measured
        if isinstance(outline, dict):
            lost['masks, written as polygons along the edges of their pixels'] += (
                'masks' not in self.held
            )
        elif isinstance(outline, list) and len(outline) > 1:
            lost['objects of several polygons, written as one outline'] += 'parts' not in self.held
        x, y, w, h = one['bbox']
        size = image.width, image.height
        apart = np.abs(np.subtract((x, y, x + w, y + h), box)) / (*size, *size)
        what = 'boxes that are not those around their outlines, which are read in their place'
        lost[what] += bool(apart.max() > _SAME)
        lost['areas that are not those of their outlines'] += not _same_area(one['area'], area)
        return one


def _same_area(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_AREA * max(abs(one), abs(other))


def _measure(outline: Any, image: ImageLabels) -> tuple[list[float], float] | None:
    """Return left, top, right, bottom and area of polygons or a mask; None if it is none."""
    try:
        if isinstance(outline, dict):
            if find_rle_fault(outline, (image.width, image.height)):
                return None
            found = mask_fields(decode_segmentation(outline, image.width, image.height))
        else:
            found = polygon_fields(outline, image.width, image.height)
    except (TypeError, ValueError):
        return None
    x, y, w, h = found['bbox']
    return [x, y, x + w, y + h], found['area']


def outlines_of(segmentation: Any, width: int, height: int) -> list[list[float]]:
    """Return the outlines of an object: its polygons, or those of a mask with its holes."""
    if isinstance(segmentation, dict):
        return trace_mask(decode_segmentation(segmentation, width, height))
    return [list(polygon) for polygon in segmentation]


def one_outline(segmentation: Any, width: int, height: int) -> list[float]:
    """Return the outlines of an object as one, joined by lines without width."""
    outlines = outlines_of(segmentation, width, height)
    if len(outlines) == 1:
        return outlines[0]
    return join_outlines(outlines, holes=isinstance(segmentation, dict))
