"""Open Images: tables of boxes in CSV (https://storage.googleapis.com/openimages/web/download.html).

Read are ``*-annotations-bbox.csv`` of V4 to V7, with ``class-descriptions-boxable.csv`` beside it,
or as FiftyOne lays them out (``train/labels/detections.csv``, ``train/metadata/classes.csv``,
``train/data``). Boxes are shares of the image. ``IsGroupOf`` marks a box around many objects, which
becomes a crowd: not learnt, not counted. Of the table, which lists all of Open Images, the rows of
images that are there are taken, and the others counted. Without the table of names a class is
called by its code, like ``/m/01g317``. Objects have the masks of the table beside it
(``*-annotations-object-segmentation.csv``, ``segmentations.csv`` of FiftyOne), and then the box of
the mask; a table of masks may also stand alone
(:mod:`casvit_mm.datasets.formats.open_images_masks`).

Not read: points and relations, and labels of whole images. An image without a row is not used,
since nobody may have looked at it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import find_images
from casvit_mm.datasets.formats.base import Format, SourceFiles
from casvit_mm.datasets.formats.folders import by_split, holds_images, split_in
from casvit_mm.datasets.formats.gathering import Gathering, gathered, number
from casvit_mm.datasets.formats.open_images_masks import (
    MASK_COLUMNS,
    SIDES,
    MaskFiles,
    Masks,
    Row,
    table_beside,
)
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_open_images']

_COLUMNS = {'ImageID', 'LabelName', 'XMin', 'XMax', 'YMin', 'YMax'}
_CODES = ('/m/', '/g/', '/t/')
_BEYOND = 0.01  # of the side by which rounding may leave the image


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding='utf-8-sig', newline='') as file:
        yield from csv.DictReader(file)


def _holds(path: Path) -> bool:
    return _is_table(path, _COLUMNS) or _is_table(path, MASK_COLUMNS)


def _is_table(path: Path, columns: set[str]) -> bool:
    """Return whether a CSV file has some columns."""
    if path.suffix.lower() != '.csv' or not path.is_file():
        return False
    with path.open('rb') as file:
        return columns <= set(file.readline().decode('utf-8-sig', 'replace').strip().split(','))


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


def read_open_images(files: SourceFiles) -> Gathering:
    """Read a table of boxes, with the masks of the table beside it, or a table of masks.

    Args:
        files: The CSV file, and the folder of images, named by ``ImageID`` in it or below, or in
            folders that it names.

    Raises:
        InputError: If no image of the table is there, a file is no text in UTF-8, or the table of
            masks beside it is none.
    """
    table, images = files.annotations, files.images
    # By name, as all of Open Images are called; by path, where a tool has folders of its own.
    by_path = {key: paths[0] for key, paths in find_images(images).items()}
    there = {**{key.rpartition('/')[2]: path for key, path in by_path.items()}, **by_path}
    rows, absent = _rows_of(table, there)
    taken = {row['ImageID']: there[row['ImageID']] for _, row in rows}
    if not taken:
        raise InputError(
            f'annotation file {table}: none of its {absent} images is in {images}; an '
            'image is named like its ImageID'
        )
    found = Gathering()
    ids = {}
    scans = scan_headers(list(taken.values()), str(images))
    for (image, path), scan in zip(taken.items(), scans, strict=True):
        name = path.relative_to(images).as_posix()
        ids[image] = found.add_image(name, *scan.upright), scan.upright
        if scan.error:
            found.refuse(name, f'cannot be read: {scan.error}')
    names = class_names(table)
    masks = _add_objects(found, table, rows, ids, names)
    if absent:
        found.notes.append(f'{absent} image(s) of the table are not in {images}')
    if others := len(set(by_path.values()) - set(taken.values()) - masks):
        found.notes.append(f'{others} image(s) of {images} have no row and are not used')
    if not names:
        found.notes.append('no table of names beside it: classes are called by their codes')
    return found


def _rows_of(table: Path, images: Collection[str]) -> tuple[list[tuple[int, Row]], int]:
    """Return the rows of some images with their lines, and how many other images there are.

    Raises:
        InputError: If the file is no text in UTF-8.
    """
    rows: list[tuple[int, Row]] = []
    absent: set[str] = set()
    try:
        for line, row in enumerate(_rows(table), 2):
            if row['ImageID'] in images:
                rows.append((line, row))
            else:
                absent.add(row['ImageID'])
    except (UnicodeError, csv.Error) as error:
        raise InputError(f'annotation file {table} is no table in UTF-8: {error}') from error
    return rows, len(absent)


def _add_objects(
    found: Gathering,
    table: Path,
    rows: list[tuple[int, Row]],
    ids: dict[str, tuple[int, tuple[int, int]]],
    names: dict[str, str],
) -> set[Path]:
    """Add the object of each row, and return the files of masks that were read.

    Raises:
        InputError: If the table of masks beside is none.
    """
    alone = _is_table(table, MASK_COLUMNS)
    beside = None if alone else table_beside(table)
    if beside is not None and not _is_table(beside, MASK_COLUMNS):
        raise InputError(
            f'{beside}, beside {table.name}, is no table of masks: its first line lacks one of '
            f'{", ".join(sorted(MASK_COLUMNS))}. Mend it, or move it away to read boxes alone'
        )
    masks = Masks([] if beside is None else [row for _, row in _rows_of(beside, ids)[0]])
    files = MaskFiles(table if beside is None else beside) if alone or beside else None
    plain = 0
    for line, row in rows:
        image_id, size = ids[row['ImageID']]
        label = (row['LabelName'] or '').strip()
        place = f'{table.name}, line {line}'
        try:
            fields = {} if alone else _fields(row, size)
            outlined = row if alone else masks.take(row)
            if files is not None and outlined is not None:
                fields.update(files.read(outlined, size))
            plain += outlined is None
        except ValueError as error:
            found.refuse(place, error)
            continue
        found.add_object(names.get(label, label), image_id, place, fields)
    if files is None:
        return set()
    if beside is not None:
        if plain:
            found.notes.append(
                f'{plain} object(s) have a box alone, {len(rows) - plain} the mask of '
                f'{beside.name}, and its box. Name that file as annotations to take these alone'
            )
        if masks.unused:
            found.notes.append(f'{masks.unused} mask(s) of {beside.name} belong to no box')
    if files.resized:
        found.notes.append(f'{files.resized} mask(s) are of another size than their image')
    return files.taken


def _fields(row: Row, size: tuple[int, int]) -> dict[str, Any]:
    """Return box, area and whether it is a crowd.

    Raises:
        ValueError: If a share is none.
    """
    x1, x2, y1, y2 = (number(row[key], key) for key in SIDES)
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
    tables = [file for file in files if _holds(file)]
    taken = {table_beside(table) for table in tables}  # with the boxes that they belong to
    sources = [_source(table, path) for table in tables if table not in taken]
    return by_split(path, sources, 'tables of Open Images')


def _source(path: Path, root: Path) -> tuple[Path, dict[str, str]]:
    split = split_in(path.relative_to(root).as_posix())
    named = [
        child
        for top in (root, root / 'images')
        if top.is_dir()
        for child in sorted(top.iterdir())
        if child.is_dir()
        and split
        and split_in(child.name) == split
        and 'mask' not in child.name.lower()
    ]
    places = [path.parent.parent / 'data', *named, root / 'images', path.parent]
    images = next((place for place in places if holds_images(place)), root)
    return path, dict(annotations=str(path), images=str(images))


FORMAT = Format(
    name='Open Images',
    reads='a folder with tables of boxes in CSV (ImageID, LabelName, XMin ...) or of masks, and '
    'the images',
    holds=_holds,
    describe=_describe,
    read=gathered(read_open_images),
)
