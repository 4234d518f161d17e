"""CVAT's own XML, "CVAT for images 1.1", as COCO content.

The format: https://docs.cvat.ai/docs/manual/advanced/xml_format. Read are ``box``, a turned one as
its four corners, ``polygon``, ``ellipse``, as a polygon within a tenth of a pixel of it, and
``mask``, whose run lengths count along the rows of its own box. Shapes of one label and one
``group_id`` are one object, as in CVAT's COCO export. The classes are those of the ``labels`` of
all tasks of the file, also without objects; where a file lists none, those that occur. Attributes
and ``occluded`` become ``attributes`` of the annotation.

Not learnt and counted by name, since they surround nothing: ``polyline``, ``points``, ``cuboid``
and ``skeleton``. Refused: ``track``, which belongs to "CVAT for video", where it interpolates
between frames (export the task as "CVAT for images"). Tags are classes of whole images, for
classification. ``subset`` of an image is what its split goes by, else the name of its file.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.base import Format, SourceFiles
from casvit_mm.datasets.formats.coco_values import is_size
from casvit_mm.datasets.formats.folders import has_texts, split_in
from casvit_mm.datasets.formats.gathering import (
    Gathering,
    ImageFinder,
    NoSurfaceError,
    Shape,
    gathered,
    images_beside,
    number,
    split_of,
)
from casvit_mm.datasets.formats.outlines import (
    box_fields,
    ellipse_outline,
    mask_fields,
    place_crop,
    polygon_fields,
    rotated_outline,
)
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_cvat', 'subsets']

_LINES = ('polyline', 'points', 'cuboid', 'skeleton')
_NO_OBJECTS = (*_LINES, 'tag')  # types of labels that surround nothing
_SHAPES = ('box', 'polygon', 'ellipse', 'mask')

Element = ElementTree.Element
Fields = dict[str, Any]
Size = tuple[int, int]


def subsets(annotations: Path) -> dict[str, int]:
    """Return the number of images by their ``subset``, ``''`` for none.

    Raises:
        InputError: If the file is not XML of CVAT.
    """
    return dict(Counter(image.get('subset', '') for image in _parse(annotations).iter('image')))


def read_cvat(files: SourceFiles) -> Gathering:
    """Read an XML file.

    Args:
        files: The file, and the folder of images, in it or below; CVAT writes them into ``images/``
            beside the file, or into a folder of their subset there.

    Raises:
        InputError: If the file is not XML of CVAT, or holds tracks.
    """
    annotations, subset = files.annotations, files.subset
    root = _parse(annotations)
    if (track := root.find('track')) is not None:
        raise InputError(
            f'{annotations} holds a track ({track.get("label")}), as "CVAT for video" has them, '
            'where boxes are interpolated between frames. Export the task as "CVAT for images 1.1".'
        )
    found = Gathering()
    finder = ImageFinder(files.images)
    taken: dict[str, str] = {}
    for image in root.iter('image'):
        written = image.get('name', '')
        if subset is not None and image.get('subset', '') != subset:
            continue
        try:
            name = _find(finder, written, image.get('subset'))
            if name in taken:
                raise ValueError(f'is listed twice, as {taken[name]} too; remove one entry')
        except ValueError as error:
            found.refuse(f'{annotations.name}, image {written!r}', error)
            continue
        taken[name] = written
        if tags := [tag.get('label', '').strip() for tag in image.findall('tag')]:
            found.classes[name] = tags
        _read_image(image, name, finder, f'{annotations.name}, {written}', found)
    found.notes += finder.notes()
    declared = [label for label in root.iterfind('.//labels/label') if label.find('parent') is None]
    found.names = list(
        dict.fromkeys(
            (label.findtext('name') or '').strip()
            for label in declared
            if label.findtext('type') not in _NO_OBJECTS
        )
    )
    return found


def _parse(path: Path) -> Element:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise InputError(f'annotation file {path} is not XML: {error}. Export it again.') from error
    if root.tag != 'annotations':
        raise InputError(
            f'annotation file {path} is XML of another kind, with <{root.tag}> at its root; CVAT '
            'has <annotations>'
        )
    return root


def _find(finder: ImageFinder, written: str, subset: str | None) -> str:
    exact = finder.exact(written) or (finder.exact(f'{subset}/{written}') if subset else None)
    return exact or finder.find(written)


def _read_image(
    image: Element, name: str, finder: ImageFinder, place: str, found: Gathering
) -> None:
    written = image.get('width', ''), image.get('height', '')
    size = tuple(int(side) if side.isdecimal() else 0 for side in written)
    width, height = size if is_size(*size) else finder.size(name)
    image_id = found.add_image(name, width, height)
    shapes = (element for element in image if element.tag != 'tag')
    found.add_shapes(image_id, (width, height), place, shapes, lambda e: _shape(e, (width, height)))


def _shape(element: Element, size: Size) -> Shape:
    """Return an element of an image.

    Raises:
        ValueError: If it has no label, or is none of an object.
    """
    label = (element.get('label') or '').strip()
    if not label:
        raise ValueError(f'({element.tag}) has no label')
    group = element.get('group_id')
    fields = _fields(element, size)
    return Shape(label, None if group in ('', '0') else group, fields, _attributes(element))


def _attributes(element: Element) -> Fields:
    said: Fields = {a.get('name', ''): (a.text or '').strip() for a in element.findall('attribute')}
    if element.get('occluded') == '1':
        said['occluded'] = True
    return said


def _fields(element: Element, size: Size) -> Fields:
    """Return box, area and segmentation of a shape.

    Raises:
        ValueError: If it is none of an object.
    """
    kind = element.tag
    if kind in _LINES:
        raise NoSurfaceError(kind)
    if kind not in _SHAPES:
        raise ValueError(f'is a <{kind}>, which is not read; draw a box or an outline')
    turn = number(element.get('rotation', '0'), 'rotation')
    if kind == 'box':
        x1, y1, x2, y2 = (number(element.get(key), key) for key in ('xtl', 'ytl', 'xbr', 'ybr'))
        fields = box_fields(x1, y1, x2, y2)
        if turn % 360 == 0:
            return fields
        return polygon_fields([rotated_outline(fields['bbox'], turn)], *size)
    if kind == 'polygon':
        return polygon_fields([_points(element.get('points', ''))], *size)
    if kind == 'ellipse':
        x, y, rx, ry = (number(element.get(key), key) for key in ('cx', 'cy', 'rx', 'ry'))
        return polygon_fields([ellipse_outline((x, y), (rx, ry), turn)], *size)
    left, top, width, height = (
        round(number(element.get(key), key)) for key in ('left', 'top', 'width', 'height')
    )
    crop = _decode_rle(element.get('rle', ''), width, height)
    return mask_fields(place_crop(crop, left, top, *size))


def _points(text: str) -> list[float]:
    points = [point.split(',') for point in text.split(';') if point.strip()]
    if any(len(point) != 2 for point in points):
        wrong = next(point for point in points if len(point) != 2)
        raise ValueError(f'has the point {",".join(wrong)!r}; expected x,y with decimal points')
    return [number(value, 'the coordinate') for point in points for value in point]


def _decode_rle(text: str, width: int, height: int) -> np.ndarray:
    """Return a mask, bool ``(height, width)``: runs along the rows, the first one outside."""
    try:
        counts = np.array([int(run) for run in text.split(',')], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f'has rle {text[:40]!r}; expected whole numbers') from None
    if not is_size(width, height) or counts.min() < 0 or counts.sum() != width * height:
        raise ValueError(
            f'has an rle of {counts.sum()} pixels; its box has {width} x {height}. Export it again.'
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(height, width)


def _holds(path: Path) -> bool:
    if path.suffix.lower() != '.xml' or not path.is_file():
        return False
    try:
        for _, element in ElementTree.iterparse(path, events=('start',)):
            return element.tag == 'annotations'
    except (OSError, ElementTree.ParseError, ValueError, LookupError):
        pass
    return False


def _describe(path: Path) -> dict[str, Any] | None:
    """Describe a file, or a folder in which, or in the folders of which, such files lie."""
    if path.is_dir():
        files = [one for one in sorted((*path.glob('*.xml'), *path.glob('*/*.xml'))) if _holds(one)]
    else:
        files = [path] if _holds(path) else []
    if not files:
        return None
    found = {file: subsets(file) for file in files}
    names = {subset for counts in found.values() for subset in counts}
    splits = {subset: split_of(subset) for subset in names}
    top = path if path.is_dir() else path.parent
    source = _tags_source if all(map(_holds_tags_alone, files)) else _source
    root = str(top.resolve())
    if names == {''} and (by_name := _split_by_names(files, top, source)):
        return dict(root=root, **by_name)
    if 'train' not in splits.values() or len(names) < 2:
        return dict(root=root, data=[source(file) for file in files])
    if unknown := sorted(name for name, split in splits.items() if split is None):
        raise InputError(
            f'{path} (--data) has images in the subset {unknown[0]!r}, which is none of Train, '
            'Validation and Test. Move them in CVAT, or name what to take by subset: in a '
            'dataset.yaml (docs/reference/data_formats.md)'
        )
    sources: dict[str, Any] = dict(root=root)
    for file, counts in found.items():
        for subset in sorted(counts):
            entry = dict(source(file), subset=subset)
            sources.setdefault(str(splits[subset]), []).append(entry)
    return sources


def _split_by_names(
    files: list[Path], root: Path, source: Callable[[Path], dict[str, str]]
) -> dict[str, list[dict[str, str]]]:
    """Return the sources by what files or their folders are called, as Datumaro does; or nothing.

    A subset that a file says goes before.
    """
    splits: dict[str, list[dict[str, str]]] = {}
    for file in files:
        split = split_in(file.relative_to(root).with_suffix('').as_posix())
        splits.setdefault(split or '', []).append(source(file))
    told = 'train' in splits and '' not in splits and len(splits) > 1
    return splits if told else {}


def _source(file: Path) -> dict[str, str]:
    return dict(annotations=str(file.resolve()), images=str(images_beside(file).resolve()))


def _tags_source(file: Path) -> dict[str, str]:
    return dict(_source(file), class_from='annotations')


def _holds_tags_alone(file: Path) -> bool:
    """Return whether images of a file have tags, and none of them a shape."""
    shapes = [f'<{kind} '.encode() for kind in (*_SHAPES, *_LINES)]
    return has_texts(file, [b'<tag ']) and not any(has_texts(file, [kind]) for kind in shapes)


FORMAT = Format(
    name='CVAT for images',
    reads='annotations.xml of CVAT ("CVAT for images 1.1") beside images/, or a folder with it',
    holds=_holds,
    describe=_describe,
    read=gathered(read_cvat),
)
