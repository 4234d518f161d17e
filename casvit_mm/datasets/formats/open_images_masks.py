"""Masks of Open Images: a table of PNG files, one for each object that has a mask.

Columns are ``MaskPath``, ``ImageID``, ``LabelName``, ``BoxXMin`` ... ``BoxYMax`` and more; the box
is that of the table of boxes, which names no mask itself. Pixels above 0 belong to the object. A
mask shows the whole image, often at another size, and is brought to that of the image by the
nearest pixel. The files are sought by their names: in the folder of the table and those below,
where the archives unpack and FiftyOne puts them, and in ``masks`` beside that folder, as CVAT and
Datumaro write; of several in the one whose path says the split of the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit_mm.datasets.files import find_files
from casvit_mm.datasets.formats.folders import split_in
from casvit_mm.datasets.formats.outlines import mask_fields

__all__ = ['MASK_COLUMNS', 'MaskFiles', 'Masks', 'table_beside']

MASK_COLUMNS = {'MaskPath', 'ImageID', 'LabelName', 'BoxXMin', 'BoxXMax', 'BoxYMin', 'BoxYMax'}
SIDES = ('XMin', 'XMax', 'YMin', 'YMax')
_NEAR = 1e-3  # of the side by which a box may differ between the two tables
_NAMES = (  # of a table of boxes, and of the masks beside it
    ('annotations-bbox', 'annotations-object-segmentation'),
    ('detections', 'segmentations'),  # of FiftyOne
)

Row = dict[str, str]


def table_beside(boxes: Path) -> Path | None:
    """Return the table of masks that belongs to one of boxes; None if there is none."""
    for ours, theirs in _NAMES:
        path = boxes.with_name(boxes.name.replace(ours, theirs))
        if path != boxes and path.is_file():
            return path
    return None


class Masks:
    """Which row of a table of masks belongs to an object of a table of boxes.

    Args:
        rows: Those of the table, of the images that are used.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._rows: dict[tuple[str, str], list[tuple[np.ndarray, Row]]] = {}
        for row in rows:
            try:
                box = np.array([float(row[f'Box{side}']) for side in SIDES])
            except (TypeError, ValueError):
                continue  # which fits no box, and is counted
            self._rows.setdefault((row['ImageID'], row['LabelName']), []).append((box, row))
        self.unused = len(rows)

    def take(self, row: Row) -> Row | None:
        """Return the row of the mask of an object, once; None if it has none.

        Args:
            row: That of its box, whose four sides are numbers.
        """
        listed = self._rows.get((row['ImageID'], row['LabelName']), [])
        if not listed:
            return None
        box = np.array([float(row[side]) for side in SIDES])
        apart = [float(np.abs(other - box).max()) for other, _ in listed]
        nearest = int(np.argmin(apart))
        if not apart[nearest] <= _NEAR:  # NaN neither
            return None
        self.unused -= 1
        return listed.pop(nearest)[1]


class MaskFiles:
    """The PNG files near a table of masks.

    Args:
        table: The table.
    """

    def __init__(self, table: Path) -> None:
        self._folders = (table.parent.parent / 'masks', table.parent)
        self._files: dict[str, Path] = {}
        split = split_in(table.name)
        for folder in self._folders:
            for paths in find_files(folder, {'.png'}).values():
                for path in paths:
                    if split_in(path.parent.relative_to(folder).as_posix()) == split:
                        self._files[path.name] = path
                    else:
                        self._files.setdefault(path.name, path)
        self.taken: set[Path] = set()
        self.resized = 0

    def read(self, row: Row, size: tuple[int, int]) -> dict[str, Any]:
        """Return box, area and segmentation of an object.

        Args:
            row: Of the table of masks.
            size: Width and height of the image.

        Raises:
            ValueError: If the file is missing, is none, or has no pixel of the object.
        """
        name = (row['MaskPath'] or '').strip()
        path = self._files.get(name.rpartition('/')[2])
        if path is None:
            raise ValueError(
                f'names the mask {name!r}, which is neither in {self._folders[1]} nor in '
                f'{self._folders[0]}; unpack the archives of masks there'
            )
        self.taken.add(path)
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image)
        except Exception as error:  # whatever a damaged PNG makes Pillow raise
            raise ValueError(f'has a mask, {path}, that cannot be read: {error}') from None
        mask = (pixels if pixels.ndim == 2 else pixels[..., 0]) > 0
        if mask.shape != size[::-1]:
            self.resized += 1
            mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        return mask_fields(mask)
