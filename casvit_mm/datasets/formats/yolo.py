"""YOLO labels as COCO content, and the ``data.yaml`` of Ultralytics as a description of ours.

One text file per image, one object per line: the number of its class, then x and y of the centre,
width and height, or the points of its outline; all as shares of the image's width and height
(https://docs.ultralytics.com/datasets/detect/ and .../segment/).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import find_images, read_text
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.datasets.yaml_files import read_yaml
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'is_yolo_description', 'label_file', 'read_yolo', 'translate_description']

_SPLITS = ('train', 'val', 'test')
_OURS = ('names', 'classes', 'max_dets')
_BEYOND = 0.01  # of the side by which rounding may leave the image
_DIGITS = 3  # of a pixel


def is_yolo_description(content: Any) -> bool:
    """Return whether the content of a YAML file is a ``data.yaml`` of Ultralytics."""
    return (
        isinstance(content, dict)
        and 'names' in content
        and any(_is_paths(content.get(split)) for split in _SPLITS)
    )


def translate_description(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields of our own descriptions for those of a ``data.yaml``.

    Its folder stands in for ``path`` where that does not lead anywhere; and ``../train/images``, as
    Roboflow writes it, is also looked for as ``train/images``.

    Raises:
        InputError: If a split is no folder of images, or the labels are keypoints.
    """
    if 'kpt_shape' in content:
        raise InputError(f'{path} (--data) describes keypoints, which are not learnt here')
    root = path.parent / str(content.get('path') or '.')
    if not root.is_dir():
        root = path.parent
    fields: dict[str, Any] = {key: content[key] for key in _OURS if key in content}
    fields['root'] = str(root.resolve())
    for split in _SPLITS:
        value = content.get(split)
        if value is None:
            continue
        if not _is_paths(value):
            raise InputError(f'{path} (--data): {split} must name a folder of images')
        folders = value if isinstance(value, list) else [value]
        fields[split] = [_source(root, folder, f'{path} (--data), {split}') for folder in folders]
    return fields


def _is_paths(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(one, str) for one in values)


def _source(root: Path, written: str, where: str) -> dict[str, str]:
    images = root / written
    if not images.exists() and written.startswith('../'):
        images = root / written.removeprefix('../')
    if images.is_file():
        raise InputError(f'{where}: {images} is a file; name a folder of images')
    if not images.is_dir():
        raise InputError(
            f'{where}: folder {images} does not exist. Correct it, or leave the split out.'
        )
    return dict(images=str(images.resolve()), annotations=str(_labels_of(images.resolve())))


def _labels_of(images: Path) -> Path:
    """Return the folder of labels, which is named so in place of the last ``images``."""
    parts = list(images.parts)
    if 'images' not in parts:
        return images
    last = len(parts) - 1 - parts[::-1].index('images')
    return Path(*parts[:last], 'labels', *parts[last + 1 :])


def label_file(labels: Path, name: str) -> Path:
    """Return the file that holds the objects of image ``name``."""
    return (labels / name).with_suffix('.txt')


def read_yolo(
    labels: Path, images: Path, names: tuple[str, ...]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Read the labels of a folder of images; an image without a file has no objects.

    Args:
        labels: Folder of text files.
        images: Folder of images, which lie in it and below.
        names: Classes by their numbers.

    Returns:
        COCO content whose categories count from 1, every annotation with its ``source``; and what
        could not be read, as (file, message).

    Raises:
        InputError: If the folder holds no image.
    """
    files = [path for found in find_images(images).values() for path in found]
    if not files:
        raise InputError(f'image folder {images} holds no image, nor do the folders in it')
    entries: list[dict] = []
    annotations: list[dict] = []
    unreadable: list[tuple[str, str]] = []
    scans = scan_headers(files, str(images))
    for number, (path, scan) in enumerate(zip(files, scans, strict=True), 1):
        name = path.relative_to(images).as_posix()
        if scan.error:
            unreadable.append((name, f'image {path} cannot be read: {scan.error}'))
            continue
        width, height = scan.upright
        entries.append(dict(id=number, file_name=name, width=width, height=height))
        file = label_file(labels, name)
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
        raise ValueError(f'holds {" ".join(fields)[:60]!r}; expected numbers') from None
    if not (label.is_integer() and 0 <= label < len(names)):
        last = len(names) - 1
        raise ValueError(f'has class {fields[0]}, but names: has the numbers 0 to {last}')
    if not all(-_BEYOND <= share <= 1 + _BEYOND for share in shares):
        raise ValueError('has a value that is no share of the image, from 0 to 1')
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
        raise ValueError(
            f'has {len(fields)} values; expected 5 (class, centre, size) or a class and the points '
            'of an outline'
        )
    box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
    found: dict[str, Any] = dict(
        category_id=int(label) + 1,
        bbox=[round(value, _DIGITS) for value in box],
        area=round(_area(outline) if outline else box[2] * box[3], _DIGITS),
    )
    return {**found, 'segmentation': [outline]} if outline else found


def _area(outline: list[float]) -> float:
    """Return the area of a polygon (x1, y1, x2, y2, ...)."""
    x, y = outline[::2], outline[1::2]
    return abs(math.fsum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))) / 2


def _holds(path: Path) -> bool:
    return False  # numbers alone: a description says the names


def _describe(path: Path) -> dict[str, Any] | None:
    if path.suffix.lower() not in ('.yaml', '.yml') or not path.is_file():
        return None
    content = read_yaml(path, f'{path} (--data)')
    return translate_description(content, path) if is_yolo_description(content) else None


def _read(files: SourceFiles) -> Annotations:
    content, unreadable = read_yolo(files.annotations, files.images, files.names or ())
    labels = {label_file(files.annotations, i['file_name']) for i in content['images']}
    return Annotations(content, unreadable=unreadable, is_label=labels.__contains__)


FORMAT = Format(
    name='YOLO',
    reads='data.yaml as Ultralytics and Roboflow write it, with text files of boxes or outlines',
    holds=_holds,
    describe=_describe,
    read=_read,
)
