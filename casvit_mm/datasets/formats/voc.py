"""Pascal VOC annotations as COCO content.

One XML file per image, boxes in pixels counted from 1
(http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, "Annotation").
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PIL import Image

from casvit_mm.datasets.files import IMAGE_SUFFIXES
from casvit_mm.errors import InputError

__all__ = ['read_voc']

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


_SIDES = ('width', 'height')


def read_voc(
    annotations: Path, images: Path, stems: list[str] | None = None
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Read a folder of XML files.

    Boxes become ``[xmin - 1, ymin - 1, xmax - xmin, ymax - ymin]``, as in mmdet. Objects marked
    ``difficult`` become crowds: neither learnt nor counted, as the VOC protocol has it.

    Args:
        annotations: Folder of XML files.
        images: Folder of images; that of ``a.xml`` is ``a.jpg`` (or another image suffix), else the
            file that its ``filename`` names.
        stems: Names without suffix, of the files to read; None reads all.

    Returns:
        COCO content with categories in alphabetical order, every annotation with its ``source``;
        and what could not be read, as (file, message).

    Raises:
        InputError: If the folder holds no XML file.
    """
    if stems is None:
        stems = sorted(path.stem for path in annotations.glob('*.xml'))
        if not stems:
            raise InputError(f'annotation folder {annotations} holds no XML file')
    found = {}
    if images.is_dir():
        for path in sorted(images.iterdir(), reverse=True):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                found[path.stem] = path.name
    entries: list[dict] = []
    objects: list[tuple[str, dict]] = []
    unreadable: list[tuple[str, str]] = []
    for stem in stems:
        path = annotations / f'{stem}.xml'
        try:
            root = ElementTree.parse(path).getroot()
        except FileNotFoundError:
            unreadable.append((path.name, f'{path} does not exist'))
            continue
        except (ElementTree.ParseError, UnicodeDecodeError) as error:
            unreadable.append((path.name, f'{path} is not XML: {error}. Export it again.'))
            continue
        name = found.get(stem) or (root.findtext('filename') or f'{stem}.jpg').strip()
        width, height = _size(root, images / name)
        entries.append(dict(id=len(entries) + 1, file_name=name, width=width, height=height))
        for number, element in enumerate(root.iter('object'), 1):
            try:
                objects.append(_object(element, len(entries), f'{path.name}, object {number}'))
            except ValueError as error:
                unreadable.append((path.name, f'{path}: object {number} {error}'))
    names = sorted({name for name, _ in objects})
    for number, (name, annotation) in enumerate(objects, 1):
        annotation.update(id=number, category_id=names.index(name) + 1)
    content = dict(
        images=entries,
        annotations=[annotation for _, annotation in objects],
        categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)],
    )
    return content, unreadable


def _size(root: ElementTree.Element, image: Path) -> tuple[int, int]:
    """Return width and height as the file says, or as the image has them; 0 if neither does."""
    try:
        width, height = (int(float(root.findtext(f'size/{side}', '0'))) for side in _SIDES)
    except ValueError:
        width = height = 0
    if width > 0 and height > 0:
        return width, height
    try:
        with Image.open(image) as opened:
            return opened.size
    except Exception:  # what is wrong with the file is an issue of its own
        return width, height


def _object(element: ElementTree.Element, image_id: int, source: str) -> tuple[str, dict]:
    """Return the name and the annotation of one ``<object>``.

    Raises:
        ValueError: If it lacks a name or a corner, or a corner is no number.
    """
    name = (element.findtext('name') or '').strip()
    if not name:
        raise ValueError('has no <name>')
    corners = []
    for key in _CORNERS:
        text = element.findtext(f'bndbox/{key}')
        if text is None:
            raise ValueError(f'({name}) has no <bndbox> with <{key}>')
        try:
            corners.append(float(text))
        except ValueError:
            raise ValueError(f'({name}) has {key} {text.strip()!r}, not a number') from None
    x1, y1, x2, y2 = corners
    width, height = x2 - x1, y2 - y1
    difficult = (element.findtext('difficult') or '0').strip() == '1'
    return name, dict(
        image_id=image_id,
        bbox=[x1 - 1, y1 - 1, width, height],
        area=max(width, 0.0) * max(height, 0.0),
        iscrowd=int(difficult),
        source=source,
    )
