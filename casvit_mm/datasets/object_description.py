"""Annotated objects as a YAML file describes them, whatever a task makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.datasets.class_fields import read_class_map, read_names
from casvit_mm.datasets.description import (
    DatasetDescription,
    SourceFormat,
    read_shared_fields,
)
from casvit_mm.errors import InputError

__all__ = ['ObjectDescription', 'Source', 'read_object_fields']


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
class ObjectDescription(DatasetDescription[Source]):
    """Annotated objects as a YAML file describes them.

    Attributes:
        classes: Names to learn, in order, each with the category names that count as it; None takes
            the categories as they are.
        boxes: What the last two numbers of a box in a COCO file are: ``'corners'``, or ``'sizes'``
            where they are not to be taken for corners; None where nothing is said.
        names: Classes of YOLO labels by their numbers; None where there are no such labels.
    """

    classes: dict[str, tuple[str, ...]] | None = None
    boxes: str | None = None
    names: tuple[str, ...] | None = None


def read_object_fields(
    path: str | Path, fields: set[str]
) -> tuple[ObjectDescription, dict[str, Any]]:
    """Read the description of annotated objects.

    Args:
        path: ``dataset.yaml``, or what a tool wrote.
        fields: Those of a task alone.

    Returns:
        What every task takes of it, and all fields as written.

    Raises:
        InputError: If it is missing, not YAML, describes another task, or has unknown, missing or
            malformed fields.
    """
    sources = SourceFormat('detection', ('annotations', 'images'), ('list', 'subset'), _read_source)
    shared, content = read_shared_fields(path, sources, {'classes', 'boxes', 'names', *fields})
    boxes = content.get('boxes')
    if boxes not in (None, 'sizes', 'corners'):
        raise InputError(
            f'{path}: boxes must be sizes for [x, y, width, height] or corners for [x1, y1, x2, '
            f'y2], got {boxes!r}'
        )
    written = content.get('classes')
    described = ObjectDescription(
        **vars(shared),
        classes=None if written is None else read_class_map(written, shared.path),
        boxes=boxes,
        names=_read_label_names(content.get('names'), shared.path),
    )
    return described, content


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
