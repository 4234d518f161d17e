"""The well-formed objects of a COCO-format split as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_columns import read_columns
from casvit_mm.datasets.formats.coco_values import is_box, is_id, is_number, is_size

__all__ = ['Objects', 'read_objects']


@dataclass(frozen=True)
class Objects:
    """N objects whose box is four numbers, and whose image and category are known.

    Attributes:
        classes: Category names in the order of their ids.
        images: Positions in the list of images that have a name and a possible size, ``(M,)``.
        index: Position in the list of annotations, ``(N,)``.
        image: Position of the object's image in the list of images, ``(N,)``.
        label: Position in ``classes``, ``(N,)``.
        box: x, y, width and height in pixels, ``(N, 4)``.
        area: Area as annotated, NaN where it is no number, ``(N,)``.
        crowd: Whether the object is a crowd, ``(N,)``.
        size: Width and height of the object's image, ``(N, 2)``.
    """

    classes: tuple[str, ...]
    images: np.ndarray
    index: np.ndarray
    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    size: np.ndarray

    def row_of(self, index: int) -> int | None:
        """Return the row of a position in the list of annotations; None if it has none."""
        row = int(np.searchsorted(self.index, index))  # they are in order
        return row if row < len(self.index) and self.index[row] == index else None

    def visible(self) -> np.ndarray:
        """Return which boxes have an area and share some of it with their image, ``(N,)``."""
        low = np.maximum(self.box[:, :2], 0)
        high = np.minimum(self.box[:, :2] + self.box[:, 2:], self.size)
        return (high > low).all(axis=1) & (self.box[:, 2:] > 0).all(axis=1)

    def learnt(self) -> np.ndarray:
        """Return which objects mmdet learns from, ``(N,)``: what it ignores is left out."""
        large = (self.box[:, 2:] >= 1).all(axis=1)
        return self.visible() & large & (self.area > 0) & ~self.crowd


def read_objects(content: dict[str, Any]) -> Objects:
    """Read the well-formed objects of a split; whatever is malformed is left out."""
    names = {c['id']: str(c.get('name')) for _, c in _entries(content, 'categories')}
    columns = read_columns(content)
    if columns is not None:
        return Objects(
            classes=tuple(names[i] for i in sorted(names)),
            images=np.arange(len(columns.sizes)),
            index=np.arange(len(columns.id)),
            image=columns.image,
            label=np.searchsorted(sorted(names), columns.category),
            box=columns.box,
            area=columns.area,
            crowd=columns.crowd,
            size=columns.sizes[columns.image],
        )
    labels = {category: label for label, category in enumerate(sorted(names))}
    sizes: dict[int, tuple[int, int, int]] = {}
    for i, entry in _entries(content, 'images'):
        named = isinstance(entry.get('file_name'), str)
        if named and is_size(entry.get('width'), entry.get('height')):
            sizes.setdefault(entry['id'], (i, entry['width'], entry['height']))
    rows, area, crowd = [], [], []
    for i, entry in _entries(content, 'annotations'):
        image, category = entry.get('image_id'), entry.get('category_id')
        if not (is_id(image) and is_id(category) and is_box(entry.get('bbox'))):
            continue
        if image in sizes and category in labels:
            rows.append((i, labels[category], *sizes[image], *entry['bbox']))
            area.append(entry['area'] if is_number(entry.get('area')) else np.nan)
            crowd.append(bool(entry.get('iscrowd')))
    table = np.array(rows, dtype=np.float64).reshape(-1, 9)
    return Objects(
        classes=tuple(names[i] for i in sorted(names)),
        images=np.array([i for i, _, _ in sizes.values()], dtype=np.int64),
        index=table[:, 0].astype(np.int64),
        image=table[:, 2].astype(np.int64),
        label=table[:, 1].astype(np.int64),
        box=table[:, 5:],
        area=np.array(area, dtype=np.float64),
        crowd=np.array(crowd, dtype=bool),
        size=table[:, 3:5],
    )


def _entries(content: dict[str, Any], section: str) -> Iterator[tuple[int, dict]]:
    """Yield position and entry of those that have an id."""
    entries = content.get(section)
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict) and is_id(entry.get('id')):
            yield i, entry
