"""LabelMe's JSON files, one per image, as COCO content (https://github.com/wkentaro/labelme).

Read are the shapes ``rectangle``, ``polygon`` (also where no type is named), ``circle``, as a
polygon within a tenth of a pixel of it, ``mask``, a PNG in base64 of the part of the image between
two points, and the turned boxes of X-AnyLabeling (``rotation``) and LabelMe 6
(``oriented_rectangle``), as polygons. Shapes of one label and one ``group_id`` are one object, as
in LabelMe's own ``labelme2coco.py``. Flags and the description of a shape become ``attributes`` of
the annotation.

Not learnt and counted by name, since they surround nothing: ``point``, ``points``, ``line`` and
``linestrip``. Refused: other shapes, and an image that lies in the JSON alone (``imageData``). An
image without a JSON file has not been looked at by anybody, and is not used; how many there are is
said. The flags of an image that are true are its classes, for classification.
"""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit_mm.datasets.files import SPLIT_SUFFIX, find_files, find_images
from casvit_mm.datasets.formats.base import Format, SourceFiles
from casvit_mm.datasets.formats.coco_values import is_size
from casvit_mm.datasets.formats.gathering import (
    Gathering,
    ImageFinder,
    NoSurfaceError,
    Shape,
    gathered,
    number,
    read_json,
    read_start,
    split_of,
)
from casvit_mm.datasets.formats.outlines import (
    box_fields,
    ellipse_outline,
    mask_fields,
    place_crop,
    polygon_fields,
)
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_labelme']

_LOOKED_AT = 20  # JSON files of a folder
_LINES = ('point', 'points', 'line', 'linestrip')

Fields = dict[str, Any]
Size = tuple[int, int]


def _is_labelme(content: Any) -> bool:
    """Return whether the content of a JSON file is LabelMe's."""
    return isinstance(content, dict) and isinstance(content.get('shapes'), list)


def read_labelme(files: SourceFiles) -> Gathering:
    """Read a folder of JSON files, and those below it.

    Args:
        files: Folder of JSON files, and folder of images, in it or below. An image is where
            ``imagePath`` says, else it is the only one of that name, else the only one with the
            name of the JSON file.

    Raises:
        InputError: If the folder holds no JSON file.
    """
    annotations, images = files.annotations, files.images
    listed = _json_files(annotations)
    if not listed:
        raise InputError(f'annotation folder {annotations} holds no JSON file of LabelMe')
    found = Gathering(is_label=_is_json)
    finder = ImageFinder(images)
    taken: dict[str, str] = {}
    for path in listed:
        place = path.relative_to(annotations).as_posix()
        try:
            content = read_json(path, _is_labelme, "JSON of LabelMe: it has no list 'shapes'")
            name = _image_of(content, path, finder)
            if name in taken:
                raise ValueError(f'is about {name}, and so is {taken[name]}; take one away')
        except ValueError as error:
            found.refuse(place, error)
            continue
        taken[name] = place
        if flags := _flags(content):
            found.classes[name] = flags
        _read_file(content, place, name, finder, found)
    found.notes += finder.notes()
    others = {
        path.relative_to(images).as_posix()
        for paths in find_images(images).values()
        for path in paths
    } - set(taken)
    if others:
        found.notes.append(
            f'{len(others)} image(s) have no JSON file and are not used; first {min(others)}'
        )
    return found


def _flags(content: Any) -> list[str]:
    """Return the flags of an image that are true."""
    flags = content.get('flags')
    named = flags.items() if isinstance(flags, dict) else ()
    return [str(name).strip() for name, true in named if true]


def _image_of(content: Any, path: Path, finder: ImageFinder) -> str:
    """Return the image that a file is about.

    Raises:
        ValueError: If it is not found.
    """
    written = content.get('imagePath')
    try:
        if not isinstance(written, str):
            raise ValueError('has no imagePath')
        return finder.find(written, path.parent)
    except ValueError as error:
        alike = find_images(finder.folder).get(path.stem, [])
        if len(alike) == 1:
            name = alike[0].relative_to(finder.folder).as_posix()
            finder.elsewhere.append((str(written), name))
            return name
        held = '; the image is in the JSON (imageData): write it beside' * bool(
            content.get('imageData')
        )
        raise ValueError(f'{error}{held}') from None


def _read_file(content: Any, place: str, name: str, finder: ImageFinder, found: Gathering) -> None:
    size = content.get('imageWidth'), content.get('imageHeight')
    width, height = size if is_size(*size) else finder.size(name)
    image_id = found.add_image(name, width, height)
    found.add_shapes(
        image_id, (width, height), place, content['shapes'], lambda s: _shape(s, (width, height))
    )


def _shape(shape: Any, size: Size) -> Shape:
    """Return a shape of a file.

    Raises:
        ValueError: If it has no label, or is none of an object.
    """
    label, fields = _label(shape), _fields(shape, size)
    group = shape.get('group_id')
    return Shape(
        label, group if isinstance(group, (int, str)) else None, fields, _attributes(shape)
    )


def _label(shape: Any) -> str:
    label = shape.get('label') if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise ValueError('has no label')
    return label.strip()


def _attributes(shape: Fields) -> Fields:
    flags = shape.get('flags')
    said = dict(flags) if isinstance(flags, dict) else {}
    description = shape.get('description')
    return {**said, 'description': description} if description else said


def _fields(shape: Fields, size: Size) -> Fields:
    """Return box, area and segmentation of a shape.

    Raises:
        ValueError: If it is none of an object.
    """
    kind = shape.get('shape_type') or 'polygon'
    if kind in _LINES:
        raise NoSurfaceError(kind)
    if kind not in ('rectangle', 'polygon', 'circle', 'mask', 'rotation', 'oriented_rectangle'):
        raise ValueError(f'is a {kind}, which is not read; draw a box or an outline')
    points = _points(shape.get('points'))
    if kind in ('polygon', 'rotation', 'oriented_rectangle'):
        return polygon_fields([[value for point in points for value in point]], *size)
    if kind == 'rectangle' and len(points) == 4:  # as X-AnyLabeling writes it
        xs, ys = zip(*points, strict=True)
        return box_fields(min(xs), min(ys), max(xs), max(ys))
    if len(points) != 2:
        raise ValueError(f'is a {kind} of {len(points)} points; expected 2')
    (x1, y1), (x2, y2) = points
    if kind == 'rectangle':
        return box_fields(x1, y1, x2, y2)
    if kind == 'circle':
        radius = math.hypot(x2 - x1, y2 - y1)
        return polygon_fields([ellipse_outline((x1, y1), (radius, radius))], *size)
    crop = _decode_mask(shape.get('mask'))
    width, height = round(x2) - round(x1) + 1, round(y2) - round(y1) + 1
    if crop.shape != (height, width):
        raise ValueError(
            f'has a mask of {crop.shape[1]} x {crop.shape[0]} pixels between points that are '
            f'{width} x {height} apart'
        )
    return mask_fields(place_crop(crop, round(x1), round(y1), *size))


def _points(value: Any) -> list[tuple[float, float]]:
    if not isinstance(value, list) or not all(isinstance(p, list) and len(p) == 2 for p in value):
        raise ValueError('has no list of points')
    return [(number(x, 'x'), number(y, 'y')) for x, y in value]


def _decode_mask(text: Any) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            pixels = np.asarray(image)
    except Exception as error:  # of base64, or whatever a damaged PNG makes Pillow raise
        raise ValueError(f'has a mask that is no PNG in base64: {error}') from None
    return (pixels if pixels.ndim == 2 else pixels[..., 0]) > 0


def _holds(path: Path) -> bool:
    """Return whether a folder, or one below it, holds a file of LabelMe among its first ones."""
    if not path.is_dir():
        return False
    return any(map(_is_labelme_file, _json_files(path)[:_LOOKED_AT]))


def _json_files(folder: Path) -> list[Path]:
    """Return the JSON files in a folder and below, without the record of how a set was split."""
    files = [path for found in find_files(folder, {'.json'}).values() for path in found]
    return [path for path in files if not path.name.endswith(SPLIT_SUFFIX)]


def _is_labelme_file(path: Path) -> bool:
    try:
        start = read_start(path, 1 << 16)
        # A file of COCO may be too large to be read for this.
        return any(mark in start for mark in (b'"shapes"', b'"imagePath"', b'"imageData"'))
    except OSError:
        return False


def _describe(path: Path) -> dict[str, Any] | None:
    if not _holds(path):
        return None
    parts = {child: split_of(child.name) for child in sorted(path.iterdir()) if child.is_dir()}
    splits = {split: child for child, split in parts.items() if split and _holds(child)}
    if 'train' in splits and not any(path.glob('*.json')):
        sources = {split: _source(child) for split, child in splits.items()}
    else:
        sources = dict(data=_source(path))
    return dict(root=str(path.resolve()), **sources)


def _source(folder: Path) -> dict[str, str]:
    places = dict(annotations=str(folder.resolve()), images=str(folder.resolve()))
    return dict(places, class_from='annotations') if _holds_flags_alone(folder) else places


def _holds_flags_alone(folder: Path) -> bool:
    """Return whether the first files have flags that are true, and none of them a shape."""
    flagged = False
    for path in _json_files(folder)[:_LOOKED_AT]:
        try:
            content = read_json(path, _is_labelme, '')
        except ValueError:
            continue
        if content['shapes']:
            return False
        flagged = flagged or bool(_flags(content))
    return flagged


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == '.json'


FORMAT = Format(
    name='LabelMe',
    reads='a folder of JSON files of LabelMe, one per image, beside the images',
    holds=_holds,
    describe=_describe,
    read=gathered(read_labelme),
)
