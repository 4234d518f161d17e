"""Supervisely: projects of JSON files, one per image (https://docs.supervisely.com, JSON format).

A project is ``meta.json`` beside folders of datasets, each with ``ann/a.jpg.json`` and
``img/a.jpg``; datasets named train, val and test are the splits. Read are ``rectangle``,
``polygon``, one with holes as a mask, and ``bitmap``, a PNG in base64 at its ``origin``. The two
points of a rectangle are its first and last pixels, as in Supervisely's own library
(``supervisely/geometry/rectangle.py``: width = right - left + 1). Classes are those of
``meta.json`` that surround something, also without objects.

Not learnt and counted by name, since they surround nothing: ``point``, ``line`` (polylines),
``graph`` (keypoints) and ``cuboid``. Tags of images and objects are not learnt. An image without a
JSON file has not been looked at, and is counted.
"""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit_mm.datasets.files import find_images
from casvit_mm.datasets.formats.base import Format, SourceFiles
from casvit_mm.datasets.formats.coco_values import is_size
from casvit_mm.datasets.formats.gathering import (
    Gathering,
    NoSurfaceError,
    gathered,
    number,
    read_json,
    split_of,
)
from casvit_mm.datasets.formats.outlines import (
    box_fields,
    decode_segmentation,
    mask_fields,
    place_crop,
    polygon_fields,
)

__all__ = ['FORMAT', 'read_supervisely']

_LINES = ('point', 'line', 'graph', 'cuboid', 'cuboid_3d', 'point_3d')
_MOST_BYTES = 1 << 28  # that a bitmap may unfold to

Size = tuple[int, int]


def _is_meta(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get('classes'), list)


def _is_annotation(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get('objects'), list)


def _datasets(project: Path) -> list[Path]:
    return sorted(child for child in project.iterdir() if (child / 'ann').is_dir())


def _holds(path: Path) -> bool:
    """Return whether a folder is a project or a dataset of one."""
    if (path / 'ann').is_dir():
        path = path.parent
    meta = path / 'meta.json'
    if not meta.is_file() or not _datasets(path):
        return False
    try:
        read_json(meta, _is_meta, '')
    except ValueError:
        return False
    return True


def _describe(path: Path) -> dict[str, Any] | None:
    if not path.is_dir() or (path / 'ann').is_dir() or not _holds(path):
        return None
    datasets = _datasets(path)
    splits: dict[str, list[dict[str, str]]] = {}
    for dataset in datasets:
        splits.setdefault(split_of(dataset.name) or '', []).append(_source(dataset))
    if '' in splits or 'train' not in splits:
        return dict(root=str(path), data=[_source(dataset) for dataset in datasets])
    return dict(root=str(path), **splits)


def _source(dataset: Path) -> dict[str, str]:
    return dict(annotations=str(dataset), images=str(dataset / 'img'))


def read_supervisely(files: SourceFiles) -> Gathering:
    """Read the JSON files of a dataset.

    Args:
        files: Folder with ``ann`` in it, beside ``meta.json``, and folder of images.
    """
    dataset, images = files.annotations, files.images
    labels = dataset / 'ann'
    found = Gathering(is_label=lambda path: path.is_relative_to(labels))
    meta = dataset.parent / 'meta.json'
    classes = []
    try:
        classes = read_json(meta, _is_meta, "meta.json of Supervisely: it has no list 'classes'")[
            'classes'
        ]
    except ValueError as error:
        found.refuse(str(meta), error)
    found.names = [
        str(c.get('title')) for c in classes if isinstance(c, dict) and c.get('shape') not in _LINES
    ]
    names = {p.relative_to(images).as_posix() for ps in find_images(images).values() for p in ps}
    for path in sorted(labels.rglob('*.json')):
        name = path.relative_to(labels).as_posix().removesuffix('.json')
        try:
            content = read_json(
                path, _is_annotation, "JSON of Supervisely: it has no list 'objects'"
            )
            size = _size(content)
        except ValueError as error:
            found.refuse(path.name, error)
            continue
        image_id = found.add_image(name, *size)
        names.discard(name)
        for i, entry in enumerate(content['objects'], 1):
            place = f'{path.name}, object {i}'
            try:
                title = str(entry['classTitle']).strip()
                found.add_object(title, image_id, place, _fields(entry, size))
            except (KeyError, TypeError):
                found.refuse(place, 'is no object of Supervisely: it lacks classTitle or points')
            except ValueError as error:
                found.refuse(place, error)
    if names:
        found.notes.append(
            f'{len(names)} image(s) have no JSON file and are not used; first {min(names)}'
        )
    return found


def _size(content: Any) -> Size:
    """Return width and height of the image that a file is about.

    Raises:
        ValueError: If it has none.
    """
    size = content.get('size')
    width, height = (size.get(k) if isinstance(size, dict) else None for k in ('width', 'height'))
    if not is_size(width, height):
        raise ValueError('has no size of its image')
    return int(width), int(height)  # type: ignore[arg-type]


def _fields(entry: dict[str, Any], size: Size) -> dict[str, Any]:
    """Return box, area and segmentation of an object.

    Raises:
        ValueError: If it is none.
    """
    kind = entry.get('geometryType')
    if kind in _LINES:
        raise NoSurfaceError(kind)
    if kind == 'bitmap':
        bitmap = entry['bitmap']
        left, top = (int(number(value, 'origin')) for value in bitmap['origin'])
        return mask_fields(place_crop(_decode(bitmap['data']), left, top, *size))
    if kind not in ('rectangle', 'polygon'):
        raise ValueError(f'is a {kind}, which is not read; draw a box, an outline or a mask')
    exterior = _ring(entry['points']['exterior'])
    if kind == 'rectangle':
        if len(exterior) != 4:
            raise ValueError(f'is a rectangle of {len(exterior) // 2} points; expected 2')
        (x1, x2), (y1, y2) = sorted(exterior[::2]), sorted(exterior[1::2])
        return box_fields(x1, y1, x2 + 1, y2 + 1)
    outline = polygon_fields([exterior], *size)
    holes = [_ring(hole) for hole in entry['points'].get('interior') or ()]
    if not holes:
        return outline
    mask = decode_segmentation([exterior], *size)
    return mask_fields(mask & ~decode_segmentation(holes, *size))


def _ring(points: Any) -> list[float]:
    return [number(value, 'x or y') for x, y in points for value in (x, y)]


def _decode(text: Any) -> np.ndarray:
    """Return a bitmap, bool ``(h, w)``: a PNG, zipped, in base64; its last channel tells."""
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.b64decode(text), _MOST_BYTES)
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except Exception as error:  # of base64 or zlib, or whatever a damaged PNG makes Pillow raise
        raise ValueError(f'has a bitmap that is no zipped PNG in base64: {error}') from None
    return (pixels if pixels.ndim == 2 else pixels[..., -1]) > 0


FORMAT = Format(
    name='Supervisely',
    reads='a project with meta.json and folders of ann/ and img/',
    holds=_holds,
    describe=_describe,
    read=gathered(read_supervisely),
)
