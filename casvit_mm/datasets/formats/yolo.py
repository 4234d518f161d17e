"""YOLO: text files of boxes or outlines beside a ``data.yaml``.

One text file per image, one object per line: the number of its class, then x and y of the centre,
width and height, or the points of its outline; all as shares of the image's width and height
(https://docs.ultralytics.com/datasets/detect/ and .../segment/). Boxes and outlines may be mixed.
An image without a text file has no objects.

Read are ``data.yaml`` as Ultralytics and Roboflow write it, a folder that holds one, and folders
``images`` and ``labels`` beside the ``classes.txt`` of Label Studio or the ``data.yaml`` of
supervision, which names classes alone. Not read, since nothing
here learns them: turned boxes (OBB), told from outlines of four points by their right angles, and
keypoints. A line that is neither a box nor an outline is named and refused.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.files import find_images, read_text, stem
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.packed import pack_outlines
from casvit_mm.datasets.formats.yolo_yaml import (
    is_yolo_description,
    labels_of,
    resolve_listed,
    translate_description,
)
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.datasets.yaml_files import read_yaml
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'label_file', 'read_yolo']

_BEYOND = 0.01  # of the side by which rounding may leave the image
_DIGITS = 6  # of a pixel
_SAMPLED = 50  # label files by which turned boxes are told


def label_file(labels: Path, images: Path, name: str) -> Path:
    """Return the file that holds the objects of an image.

    Args:
        labels: Folder of the labels. Where it is that of the images, ``images`` in the path of each
            image is exchanged for ``labels``; or they lie beside it.
        images: Folder of the images.
        name: Path of the image below it.
    """
    if labels != images:
        return (labels / name).with_suffix('.txt')
    beside = (images / name).with_suffix('.txt')
    by_rule = labels_of(beside)
    return beside if beside.is_file() and not by_rule.is_file() else by_rule


def read_yolo(files: SourceFiles) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Read the labels of a folder of images; an image without a file has no objects.

    Args:
        files: Where they lie, with the classes by their numbers as ``names``.

    Returns:
        COCO content whose categories count from 1, every annotation with its ``source``, outlines
        as text (:mod:`casvit_mm.datasets.formats.packed`); and what could not be read, as (file,
        message).

    Raises:
        InputError: If the folder holds no image.
    """
    names = files.names or ()
    unreadable: list[tuple[str, str]] = []
    paths = list(_images(files, unreadable))
    if not paths and not unreadable:
        raise InputError(f'image folder {files.images} holds no image, nor do the folders in it')
    entries: list[dict] = []
    annotations: list[dict] = []
    scans = scan_headers(paths, str(files.images))
    for path, scan in zip(paths, scans, strict=True):
        name = path.relative_to(files.images).as_posix()
        if scan.error:
            unreadable.append((name, f'image {path} cannot be read: {scan.error}'))
            continue
        number = len(entries) + 1
        width, height = scan.upright
        entries.append(dict(id=number, file_name=name, width=width, height=height))
        file = label_file(files.annotations, files.images, name)
        for line, text in _lines(file, unreadable):
            place = f'{file.name}, line {line}'
            try:
                found = _object(text.split(), names, width, height)
            except ValueError as error:
                unreadable.append((place, f'{file}, line {line} {error}'))
                continue
            identity = dict(id=len(annotations) + 1, image_id=number, iscrowd=0, source=place)
            annotations.append({**identity, **found})
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    return dict(images=entries, annotations=annotations, categories=categories), unreadable


def _images(files: SourceFiles, unreadable: list[tuple[str, str]]) -> Iterator[Path]:
    """Yield the images to take; two that would share a label file are named and not taken."""
    if files.listed is not None:
        yield from _listed_images(files, unreadable)
        return
    for name, paths in find_images(files.images).items():
        if len(paths) == 1:
            yield paths[0]
            continue
        message = (
            f'{paths[0]} and {paths[1].name} have one label file, {Path(name).name}.txt; take one '
            'of the two away'
        )
        unreadable.append((paths[0].name, message))


def _listed_images(files: SourceFiles, unreadable: list[tuple[str, str]]) -> Iterator[Path]:
    """Yield the images that a list names by path or, as our own lists do, by name or stem."""
    assert files.listed is not None
    assert files.image_list is not None
    found = resolve_listed(files.image_list, list(files.listed), files.images)
    by_name: dict[str, list[Path]] = {}
    if None in found.values():
        for path in itertools.chain.from_iterable(find_images(files.images).values()):
            relative = path.relative_to(files.images).as_posix()
            for key in {relative, stem(relative), path.name, stem(path.name)}:
                by_name.setdefault(key, []).append(path)
    for line, image in found.items():
        paths = by_name.get(line, []) if image is None else [image]
        if len(paths) == 1 and paths[0].is_relative_to(files.images):
            yield paths[0]
        else:
            relation = 'is not in' if len(paths) < 2 else f'fits {len(paths)} images of'
            message = f'list {files.image_list}: {line!r} {relation} {files.images}'
            unreadable.append((line, message))


def _lines(file: Path, unreadable: list[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that hold something."""
    if not file.exists():
        return
    try:
        lines = read_text(file).splitlines()
    except (OSError, UnicodeError) as error:
        unreadable.append((file.name, f'{file} is no text in UTF-8: {error}'))
        return
    yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _object(fields: list[str], names: tuple[str, ...], width: int, height: int) -> dict[str, Any]:
    """Return category, box, area and outline of one line.

    Raises:
        ValueError: If it is none.
    """
    try:
        label, *shares = map(float, fields)
    except ValueError:
        raise ValueError(_describe_no_numbers(fields)) from None
    if not (label.is_integer() and 0 <= label < len(names)):
        last = len(names) - 1
        raise ValueError(f'has class {fields[0]}, but names: has the numbers 0 to {last}')
    if not all(-_BEYOND <= share <= 1 + _BEYOND for share in shares):
        raise ValueError(_describe_no_share(shares))
    outline: list[float] = []
    if len(shares) == 4:
        x, y, w, h = shares
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    elif len(shares) >= 6 and len(shares) % 2 == 0:
        left, top, right, bottom = (
            *map(min, (shares[::2], shares[1::2])),
            *map(max, (shares[::2], shares[1::2])),
        )
        sides = (width, height)
        outline = [round(share * sides[i % 2], _DIGITS) for i, share in enumerate(shares)]
    else:
        raise ValueError(_describe_number(len(fields)))
    box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
    found: dict[str, Any] = dict(
        category_id=int(label) + 1,
        bbox=[round(value, _DIGITS) for value in box],
        area=round(_area(outline) if outline else box[2] * box[3], _DIGITS),
    )
    return {**found, 'segmentation': pack_outlines([outline])} if outline else found


def _describe_no_numbers(fields: list[str]) -> str:
    message = f'holds {" ".join(fields)[:60]!r}; expected numbers'
    if any(re.fullmatch(r'-?\d+,\d+', field) for field in fields):
        return f'{message} with decimal points, not commas'
    if len(fields) == 10:
        return f'{message}. Turned boxes as DOTA has them are not learnt here'
    return message


def _describe_no_share(shares: list[float]) -> str:
    message = 'has a value that is no share of the image, from 0 to 1'
    if max(shares) > 1 and all(map(math.isfinite, shares)):
        message += f' (up to {max(shares):g}); pixels are to be divided by its width and height'
    return message


def _describe_number(count: int) -> str:
    advice = '; is the last a score, as in predictions?' if count == 6 else ''
    return (
        f'has {count} values; expected 5 (class, centre, size) or a class and the points of an '
        f'outline{advice}'
    )


def _area(outline: list[float]) -> float:
    """Return the area of a polygon (x1, y1, x2, y2, ...)."""
    x, y = outline[::2], outline[1::2]
    return abs(math.fsum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))) / 2


def _describe(path: Path) -> dict[str, Any] | None:
    """Return the description of a ``data.yaml``, or of a folder with one or with classes.txt."""
    if path.is_dir():
        return _describe_folder(path)
    if path.suffix.lower() not in ('.yaml', '.yml') or not path.is_file():
        return None
    content = read_yaml(path, f'{path} (--data)')
    if not is_yolo_description(content):
        return _describe_labels(path.parent) if _names_alone(path) else None
    fields = translate_description(content, path)
    if content.get('task') != 'segment':
        _refuse_turned_boxes(fields, path)
    return fields


def _describe_folder(folder: Path) -> dict[str, Any] | None:
    found = [path for path in sorted(folder.glob('*.y*ml')) if _is_description(path)]
    if len(found) > 1:
        names = ', '.join(path.name for path in found)
        raise InputError(f'{folder} (--data) holds several descriptions of YOLO: {names}; name one')
    if found:
        return _describe(found[0])
    return _describe_labels(folder)


def _describe_labels(folder: Path) -> dict[str, Any] | None:
    """Describe ``images`` and ``labels`` of a folder, which nothing splits."""
    images, labels = folder / 'images', folder / 'labels'
    if not (images.is_dir() and labels.is_dir() and next(labels.rglob('*.txt'), None)):
        return None
    source = dict(images=str(images), annotations=str(labels))
    return dict(root=str(folder), names=_listed_names(folder), data=[source])


def _listed_names(folder: Path) -> Any:
    """Return the classes that classes.txt, or a YAML file without splits, lists.

    Raises:
        InputError: If there is neither.
    """
    classes = folder / 'classes.txt'
    if classes.is_file():
        try:
            return [line.strip() for line in read_text(classes).splitlines() if line.strip()]
        except UnicodeError as error:
            raise InputError(f'{classes} (--data) is no text in UTF-8: {error}') from error
    for path in sorted(folder.glob('*.y*ml')):
        if (names := _names_alone(path)) is not None:
            return names
    raise InputError(
        f'{folder} (--data) holds labels of YOLO and nothing that names their classes. Write '
        f'{folder / "data.yaml"} with train: images, val: ... and names: [cat, dog], or '
        'classes.txt with one name per line.'
    )


def _names_alone(path: Path) -> Any:
    """Return ``names`` of a YAML file that says nothing else but their number, else None."""
    try:
        content = read_yaml(path, path.name)
    except InputError:
        return None
    alone = isinstance(content, dict) and set(content) <= {'names', 'nc'}
    return content.get('names') if alone else None


def _is_description(path: Path) -> bool:
    try:
        return is_yolo_description(read_yaml(path, path.name))
    except InputError:  # a file of something else
        return False


def _refuse_turned_boxes(fields: dict[str, Any], path: Path) -> None:
    """Refuse labels of which every one is a rectangle by its points, and some are turned.

    Raises:
        InputError: If the first label files hold nothing else.
    """
    corners: list[np.ndarray] = []
    for source in itertools.chain.from_iterable(fields.get(s, ()) for s in ('train', 'val')):
        if 'list' in source:
            continue
        images, labels = Path(source['images']), Path(source['annotations'])
        sampled = itertools.islice(_labelled(images, labels), _SAMPLED)
        for image, file in sampled:
            lines = [line.split() for line in read_text(file).splitlines() if line.strip()]
            if any(len(line) != 9 for line in lines):
                return
            width, height = scan_headers([image], image.name)[0].upright
            try:
                shares = np.array([line[1:] for line in lines], dtype=np.float64)
            except ValueError:
                return
            corners += list(shares.reshape(-1, 4, 2) * [width, height])
    if corners and all(map(_is_rectangle, corners)) and any(map(_is_turned, corners)):
        raise InputError(
            f'{path} (--data) describes turned boxes (OBB): every label is a rectangle of four '
            'points, and some are turned. Only upright boxes and outlines are learnt here. If '
            f'these are outlines, add task: segment to {path.name}.'
        )


def _labelled(images: Path, labels: Path) -> Iterator[tuple[Path, Path]]:
    """Yield images with their label files, where there is one in UTF-8 that is not empty."""
    for path in itertools.chain.from_iterable(find_images(images).values()):
        file = label_file(labels, images, path.relative_to(images).as_posix())
        try:
            if file.is_file() and read_text(file).strip():
                yield path, file
        except (OSError, UnicodeError):
            continue


def _is_rectangle(corners: np.ndarray) -> bool:
    """Return whether four points in pixels, ``(4, 2)``, are the corners of a rectangle."""
    middles = (corners[0] + corners[2], corners[1] + corners[3])
    diagonals = [float(np.linalg.norm(corners[i + 2] - corners[i])) for i in (0, 1)]
    tolerance = 2 + 0.02 * max(diagonals)
    apart = float(np.abs(middles[0] - middles[1]).max())
    return apart <= tolerance and abs(diagonals[0] - diagonals[1]) <= tolerance


def _is_turned(corners: np.ndarray) -> bool:
    """Return whether no side of a rectangle is upright."""
    x, y = np.abs(corners[1] - corners[0])
    return bool(min(x, y) > 2 and min(x, y) > 0.05 * max(x, y))


def _read(files: SourceFiles) -> Annotations:
    content, unreadable = read_yolo(files)
    labels = [
        label_file(files.annotations, files.images, image['file_name'])
        for image in content['images']
    ]
    found = Annotations(content, unreadable=unreadable)
    if content['images'] and not any(label.is_file() for label in labels):
        message = f'no image of {files.images} has a label file; the first would be {labels[0]}'
        found.skipped.append((str(files.images), message))
    if files.listed is None:
        found.is_label = set(labels).__contains__
    return found


FORMAT = Format(
    name='YOLO',
    reads='data.yaml as Ultralytics and Roboflow write it, with text files of boxes or outlines',
    holds=lambda path: False,  # numbers alone: a description says the names
    describe=_describe,
    read=_read,
    reads_lists=True,
)
