"""Pascal VOC annotations as COCO content.

One XML file per image, boxes in pixels counted from 1
(http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, "Annotation").
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PIL import Image

from casvit_mm.datasets.files import IMAGE_SUFFIXES, UNREAD_SUFFIXES, prefer_readable
from casvit_mm.datasets.files import stem as stem_of
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.folders import split_folders
from casvit_mm.datasets.formats.foreign import kind_of_xml, name_file, name_folder
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_voc']

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
_SIDES = ('width', 'height')
_FOLDERS = (('Annotations', 'JPEGImages'), ('annotations', 'images'), ('Annotations', 'Images'))


def read_voc(
    annotations: Path, images: Path, stems: list[str] | None = None
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Read a folder of XML files.

    Boxes become ``[xmin - 1, ymin - 1, xmax - xmin, ymax - ymin]``, as in mmdet. Objects marked
    ``difficult`` become crowds: neither learnt nor counted, as the VOC protocol has it.

    Args:
        annotations: Folder of XML files.
        images: Folder of images; that of ``a.xml`` is ``a.jpg`` (or another image suffix), else the
            file that its ``filename`` names; so it is where ``a.jpg`` and ``a.png`` are there.
        stems: Names without suffix, of the files to read; None reads all.

    Returns:
        COCO content with categories in alphabetical order, every annotation with its ``source``;
        and what could not be read, as (file, message).

    Raises:
        InputError: If the folder holds no XML file.
    """
    files = _by_stem(annotations, {'.xml'})
    if stems is None:
        stems = sorted(files)
        if not stems:
            raise InputError(_describe_no_file(annotations))
    there = _by_stem(images, IMAGE_SUFFIXES | UNREAD_SUFFIXES) if images.is_dir() else {}
    found = prefer_readable(there)
    entries: list[dict] = []
    objects: list[tuple[str, dict]] = []
    unreadable: list[tuple[str, str]] = []
    for stem in stems:
        paths = files.get(stem, [annotations / f'{stem}.xml'])
        try:
            root = _parse(paths)
            name = _image_of(stem, root, found.get(stem, []))
        except ValueError as error:
            unreadable.append((paths[0].name, f'{paths[0]} {error}'))
            continue
        width, height = _size(root, images / name)
        entries.append(dict(id=len(entries) + 1, file_name=name, width=width, height=height))
        for number, element in enumerate(root.iter('object'), 1):
            place = f'{paths[0].name}, object {number}'
            try:
                objects.append(_object(element, len(entries), place))
            except ValueError as error:
                unreadable.append((paths[0].name, f'{paths[0]}: object {number} {error}'))
    names = sorted({name for name, _ in objects})
    for number, (name, annotation) in enumerate(objects, 1):
        annotation.update(id=number, category_id=names.index(name) + 1)
    content = dict(
        images=entries,
        annotations=[annotation for _, annotation in objects],
        categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)],
    )
    return content, unreadable


def _by_stem(folder: Path, suffixes: set[str]) -> dict[str, list[Path]]:
    """Return the files of a folder with one of ``suffixes``, in any case, by name without it."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, []).append(path)
    return found


def _describe_no_file(annotations: Path) -> str:
    message = f'annotation folder {annotations} holds no XML file'
    if any(path.suffix.lower() == '.xml' for path in annotations.rglob('*')):
        return f'{message}, only folders below it do; name those, as several sources'
    named = name_folder(annotations)
    return message if named is None else f'{message}, but {named}.'


def _parse(paths: list[Path]) -> ElementTree.Element:
    """Return the root element of the file.

    Raises:
        ValueError: If it is not there or not VOC, or there are two.
    """
    path = paths[0]
    if len(paths) > 1:
        raise ValueError(f'and {paths[1].name} have one name; take one of the two away')
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise ValueError('does not exist') from None
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise ValueError(f'is not XML: {error}. Export it again.') from error
    if root.tag.lower() != 'annotation':
        named = name_file(path) or f'XML of another kind, with <{root.tag}> at its root'
        raise ValueError(f'is {named}. Pascal VOC has <annotation>, one file per image.')
    return root


def _image_of(stem: str, root: ElementTree.Element, candidates: list[Path]) -> str:
    """Return the name of the image that an XML file is about.

    Raises:
        ValueError: If it may be one or another.
    """
    named = (root.findtext('filename') or '').strip()
    names = [path.name for path in candidates]
    if len(names) == 1:
        return names[0]
    if not names:
        return named or f'{stem}.jpg'
    last = re.split(r'[\\/]', named)[-1]
    if last not in names:
        raise ValueError(
            f'may be about {names[0]} or {names[1]}, and its <filename> {named!r} is neither; '
            'name one there, or take one away'
        )
    return last


def _size(root: ElementTree.Element, image: Path) -> tuple[int, int]:
    """Return width and height as the file says, or as the image has them; 0 if neither does."""
    try:
        width, height = (int(float(root.findtext(f'size/{side}', '0'))) for side in _SIDES)
    except (ValueError, OverflowError):
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
    difficult = (element.findtext('difficult') or '0').strip().lower() in ('1', 'true')
    return name, dict(
        image_id=image_id,
        bbox=[x1 - 1, y1 - 1, width, height],
        area=max(width, 0.0) * max(height, 0.0),
        iscrowd=int(difficult),
        source=source,
    )


def _holds(path: Path) -> bool:
    first = min(path.glob('*.xml'), default=None) if path.is_dir() else None
    return first is not None and kind_of_xml(first) == 'voc'


def _describe(path: Path) -> dict[str, Any] | None:
    if not path.is_dir():
        return None
    for labels, images in _FOLDERS:
        if _holds(path / labels) and (path / images).is_dir():
            source = dict(annotations=str(path / labels), images=str(path / images))
            return dict(root=str(path), **_split_by_lists(path / 'ImageSets/Main', source))
    splits = {split: child for split, child in split_folders(path).items() if _holds(child)}
    if 'train' in splits:
        sources = {split: _beside(child) for split, child in splits.items()}
        return dict(root=str(path), **sources)
    return dict(root=str(path), data=_beside(path)) if _holds(path) else None


def _beside(folder: Path) -> list[dict[str, str]]:
    return [dict(annotations=str(folder), images=str(folder))]


def _split_by_lists(lists: Path, source: dict[str, str]) -> dict[str, Any]:
    found = {name: lists / f'{name}.txt' for name in ('train', 'val', 'test')}
    splits = {name: [dict(source, list=str(p))] for name, p in found.items() if p.is_file()}
    return splits if {'train', 'val'} <= set(splits) else dict(data=[source])


def _read(files: SourceFiles) -> Annotations:
    folder = files.annotations
    stems = None if files.listed is None else [stem_of(name) for name in files.listed]
    content, unreadable = read_voc(folder, files.images, stems)
    if files.image_list is not None:
        unreadable = [(place, f'{p} (listed in {files.image_list})') for place, p in unreadable]
    return Annotations(
        content,
        open_classes=True,
        unreadable=unreadable,
        is_label=lambda path: path.suffix.lower() == '.xml' and path.parent == folder,
    )


FORMAT = Format(
    name='Pascal VOC',
    reads='a folder of XML files, one per image, or with Annotations and JPEGImages',
    holds=_holds,
    describe=_describe,
    read=_read,
    reads_lists=True,
)
