"""The YAML file that describes a detection dataset.

::

    root: .                      # counts from this file; may be left out
    train: {annotations: train.json, images: images}
    val:   {annotations: val.json, images: images}
    test:  {annotations: test.json, images: images}    # may be left out: val is used
    max_dets: 100                # raise it where images hold more objects
    classes: [cat, dog]          # may be left out; drops the others, or renames and joins:
                                 #   {pet: [cat, dog]}
    boxes: corners               # where a COCO file has [x1, y1, x2, y2] for boxes

``annotations`` is a file or folder in any of the formats of
:data:`casvit_mm.datasets.formats.registry.FORMATS`; YOLO labels need ``names: [cat, dog]``, and a
``data.yaml`` of Ultralytics is read as such a description. ``list`` beside it names a text file
with the images to take, ``subset`` a subset of CVAT's; a list of such entries joins several
sources. ``data`` and ``split`` take one set apart, see :mod:`casvit_mm.datasets.description`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.datasets.description import (
    DatasetDescription,
    SourceFormat,
    read_class_map,
    read_names,
    read_shared_fields,
)
from casvit_mm.errors import InputError

__all__ = ['DetectionDescription', 'Source', 'read_dataset']


@dataclass(frozen=True)
class Source:
    """Annotations and the images they belong to.

    Attributes:
        annotations: File or folder in one of the formats that are read.
        images: Folder that the names of images count from.
        image_list: Text file with the names of the images to take, one per line; None takes all.
        subset: Name of the part of the file to take, as CVAT has it; None takes all.
    """

    annotations: Path
    images: Path
    image_list: Path | None = None
    subset: str | None = None


@dataclass(frozen=True)
class DetectionDescription(DatasetDescription[Source]):
    """A detection dataset as its YAML file describes it.

    Attributes:
        classes: Names to learn, in order, each with the category names that count as it; None takes
            the categories as they are.
        max_dets: Detections per image that training and evaluation allow for.
        boxes: What the last two numbers of a box in a COCO file are: ``'corners'``, or ``'sizes'``
            where they are not to be taken for corners; None where nothing is said.
        names: Classes of YOLO labels by their numbers; None where there are no such labels.
    """

    classes: dict[str, tuple[str, ...]] | None = None
    max_dets: int = 100
    boxes: str | None = None
    names: tuple[str, ...] | None = None


def read_dataset(path: str | Path) -> DetectionDescription:
    """Read the ``dataset.yaml`` of a detection dataset.

    Raises:
        InputError: If it is missing, not YAML, describes another task, or has unknown, missing or
            malformed fields.
    """
    sources = SourceFormat('detection', ('annotations', 'images'), ('list', 'subset'), _read_source)
    fields = {'max_dets', 'classes', 'boxes', 'names'}
    shared, content = read_shared_fields(path, sources, fields)
    max_dets = content.get('max_dets', 100)
    if not isinstance(max_dets, int) or isinstance(max_dets, bool) or max_dets < 1:
        raise InputError(f'{path}: max_dets must be a positive integer, got {max_dets!r}')
    boxes = content.get('boxes')
    if boxes not in (None, 'sizes', 'corners'):
        raise InputError(
            f'{path}: boxes must be sizes for [x, y, width, height] or corners for [x1, y1, x2, '
            f'y2], got {boxes!r}'
        )
    written = content.get('classes')
    classes = None if written is None else read_class_map(written, shared.path)
    return DetectionDescription(
        **vars(shared),
        classes=classes,
        max_dets=max_dets,
        boxes=boxes,
        names=_read_label_names(content.get('names'), shared.path),
    )


def _read_source(entry: dict[str, str], root: Path, where: str) -> Source:
    return Source(
        (root / entry['annotations']).resolve(),
        (root / entry['images']).resolve(),
        (root / entry['list']).resolve() if 'list' in entry else None,
        entry.get('subset'),
    )


def _read_label_names(value: Any, path: Path) -> tuple[str, ...] | None:
    """Return the classes of YOLO labels, written as a list or with their numbers."""
    if value is None:
        return None
    if isinstance(value, dict) and sorted(map(str, value)) == sorted(map(str, range(len(value)))):
        value = [value[number] for number in sorted(value, key=int)]
    if not isinstance(value, list) or not value:
        raise InputError(
            f'{path}: names must list the classes in the order of their numbers, like [cat, dog] '
            'or {0: cat, 1: dog}'
        )
    return read_names(value, path, 'names')
