"""Open Images: tables of boxes in CSV (https://storage.googleapis.com/openimages/web/download.html).

Read are ``*-annotations-bbox.csv`` of V4 to V7, with ``class-descriptions-boxable.csv`` beside it,
or as FiftyOne lays them out (``train/labels/detections.csv``, ``train/metadata/classes.csv``,
``train/data``). Boxes are shares of the image. ``IsGroupOf`` marks a box around many objects, which
becomes a crowd: not learnt, not counted. Of the table, which lists all of Open Images, the rows of
images that are there are taken, and the others counted. Without the table of names a class is
called by its code, like ``/m/01g317``.

Not read: the masks (``*-annotations-object-segmentation.csv``), points and relations, and labels of
whole images; a folder is told by its tables of boxes. An image without a row is not used, since
nobody may have looked at it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import find_images
from casvit_mm.datasets.formats.base import Format
from casvit_mm.datasets.formats.folders import by_split, holds_images, split_in
from casvit_mm.datasets.formats.gathering import Gathering, number
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_open_images']

_COLUMNS = {'ImageID', 'LabelName', 'XMin', 'XMax', 'YMin', 'YMax'}
_MASKS = {'MaskPath', 'BoxID'}
_CODES = ('/m/', '/g/', '/t/')
_BEYOND = 0.01  # of the side by which rounding may leave the image


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding='utf-8-sig', newline='') as file:
        yield from csv.DictReader(file)


def _holds(path: Path) -> bool:
    if path.suffix.lower() != '.csv' or not path.is_file():
        return False
    with path.open('rb') as file:
        columns = set(file.readline().decode('utf-8-sig', 'replace').strip().split(','))
    return columns >= _COLUMNS and not columns & _MASKS


def class_names(annotations: Path) -> dict[str, str]:
    """Return the names of the classes by their codes, of the table that lies near."""
    folder = annotations.parent
    for near in (folder, folder.parent / 'metadata', folder.parent, folder.parent.parent):
        for path in sorted(near.glob('*.csv')):
            try:
                with path.open(encoding='utf-8-sig', newline='') as file:
                    rows = [row for row in csv.reader(file) if row] if _is_names(path) else []
            except UnicodeError:
                continue
            found = {row[0]: row[1].strip() for row in rows if row[0].startswith(_CODES)}
            if found:
                return found
    return {}


def _is_names(path: Path) -> bool:
    """Return whether the rows of a table are a code and a name."""
    with path.open('rb') as file:
        start = file.read(4096).decode('utf-8-sig', 'replace')
    rows = [row for row in csv.reader(io.StringIO(start)) if row][:2]
    return bool(rows) and len(rows[0]) == 2 and rows[-1][0].startswith(_CODES)


def read_open_images(annotations: Path, images: Path) -> Gathering:
    """Read a table of boxes.

    Args:
        annotations: The CSV file.
        images: Folder of images, named by ``ImageID`` in it or below, or in folders that it names.

    Raises:
        InputError: If no image of the table is there, or the file is no text in UTF-8.
    """
    # By name, as all of Open Images are called; by path, where a tool has folders of its own.
    by_path = {key: paths[0] for key, paths in find_images(images).items()}
    there = {**{key.rpartition('/')[2]: path for key, path in by_path.items()}, **by_path}
    names = class_names(annotations)
    found = Gathering()
    rows: list[tuple[int, dict[str, str]]] = []
    absent: set[str] = set()
    try:
        for line, row in enumerate(_rows(annotations), 2):
            if row['ImageID'] in there:
                rows.append((line, row))
            else:
                absent.add(row['ImageID'])
    except (UnicodeError, csv.Error) as error:
        raise InputError(f'annotation file {annotations} is no table in UTF-8: {error}') from error
    taken = dict.fromkeys(row['ImageID'] for _, row in rows)
    if not taken:
        raise InputError(
            f'annotation file {annotations}: none of its {len(absent)} images is in {images}; an '
            'image is named like its ImageID'
        )
    paths = [there[image] for image in taken]
    ids = {}
    for image, path, scan in zip(taken, paths, scan_headers(paths, str(images)), strict=True):
        name = path.relative_to(images).as_posix()
        ids[image] = found.add_image(name, *scan.upright), scan.upright
        if scan.error:
            found.refuse(name, f'cannot be read: {scan.error}')
    for line, row in rows:
        image_id, size = ids[row['ImageID']]
        label = (row['LabelName'] or '').strip()
        place = f'{annotations.name}, line {line}'
        try:
            fields = _fields(row, size)
        except ValueError as error:
            found.refuse(place, error)
            continue
        found.add_object(names.get(label, label), image_id, place, fields)
    if absent:
        found.notes.append(f'{len(absent)} image(s) of the table are not in {images}')
    if others := len(by_path) - len(taken):
        found.notes.append(f'{others} image(s) of {images} have no row and are not used')
    if not names:
        found.notes.append('no table of names beside it: classes are called by their codes')
    return found


def _fields(row: dict[str, str], size: tuple[int, int]) -> dict[str, Any]:
    """Return box, area and whether it is a crowd.

    Raises:
        ValueError: If a share is none.
    """
    x1, x2, y1, y2 = (number(row[key], key) for key in ('XMin', 'XMax', 'YMin', 'YMax'))
    if not all(-_BEYOND <= share <= 1 + _BEYOND for share in (x1, x2, y1, y2)):
        raise ValueError('has a value that is no share of the image, from 0 to 1')
    width, height = size
    box = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
    crowd = int((row.get('IsGroupOf') or '0').strip() == '1')
    return dict(bbox=box, area=max(box[2], 0) * max(box[3], 0), iscrowd=crowd)


def _describe(path: Path) -> dict[str, Any] | None:
    if path.is_file():
        return by_split(path.parent, [_source(path, path.parent)], '') if _holds(path) else None
    files = sorted(p for depth in ('*', '*/*', '*/*/*') for p in path.glob(f'{depth}.csv'))
    sources = [_source(file, path) for file in files if _holds(file)]
    return by_split(path, sources, 'tables of Open Images')


def _source(path: Path, root: Path) -> tuple[Path, dict[str, str]]:
    split = split_in(path.relative_to(root).as_posix())
    named = [
        child
        for top in (root, root / 'images')
        if top.is_dir()
        for child in sorted(top.iterdir())
        if child.is_dir() and split and split_in(child.name) == split
    ]
    places = [path.parent.parent / 'data', *named, root / 'images', path.parent]
    images = next((place for place in places if holds_images(place)), root)
    return path, dict(annotations=str(path), images=str(images))


FORMAT = Format(
    name='Open Images',
    reads='a folder with tables of boxes in CSV (ImageID, LabelName, XMin ...) and the images',
    holds=_holds,
    describe=_describe,
    read=lambda files: read_open_images(files.annotations, files.images).annotations(
        files.annotations
    ),
)
