"""Pascal VOC annotations as COCO content.

One XML file per image, also in folders below, boxes in pixels counted from 1
(http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, "Annotation"). What CVAT and
Datumaro export, told by ``labelmap.txt`` beside the folder, counts from 0, as their own readers do;
they write no file for an image without objects, so that a listed image without one has none. Both
are said. The ``polygon`` that Roboflow and supervision add to an object is not read, and is
counted.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from casvit_mm.datasets.files import find_files, find_images
from casvit_mm.datasets.files import stem as stem_of
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.folders import split_folders
from casvit_mm.datasets.formats.foreign import kind_of_xml, name_file, name_folder
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_voc']

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
_SIDES = ('width', 'height')
_OF_CVAT = 'labelmap.txt'  # which Datumaro and CVAT write beside the folder
_EMPTY = ElementTree.Element('annotation')
_FOLDERS = (('Annotations', 'JPEGImages'), ('annotations', 'images'), ('Annotations', 'Images'))


def read_voc(files: SourceFiles) -> Annotations:
    """Read the XML files of a folder and of those below it.

    Boxes become ``[xmin - 1, ymin - 1, xmax - xmin, ymax - ymin]``, as in mmdet; those of CVAT and
    Datumaro ``[xmin, ymin, ...]``. Objects marked
    ``difficult`` become crowds: neither learnt nor counted, as the VOC protocol has it. The image
    of ``a.xml`` is ``a.jpg`` (or another image suffix), else the file that its ``filename`` names;
    so it is where ``a.jpg`` and ``a.png`` are there. Categories are in alphabetical order.

    Raises:
        InputError: If the folder holds no XML file.
    """
    folder = files.annotations
    there = find_files(folder, {'.xml'})
    images = find_images(files.images)
    if files.listed is None and not there:
        raise InputError(_describe_no_file(folder))
    stems = sorted(there) if files.listed is None else [stem_of(name) for name in files.listed]
    listed_in = '' if files.image_list is None else f' (listed in {files.image_list})'
    entries: list[dict] = []
    objects: list[tuple[str, dict]] = []
    found = Annotations({}, open_classes=True, is_label=_is_label(folder))
    without: list[str] = []
    of_cvat = (folder.parent / _OF_CVAT).is_file()
    outlined = 0
    for stem in stems:
        paths = there.get(stem, [folder / f'{stem}.xml'])
        root = _EMPTY
        try:
            if of_cvat and stem not in there and stem in images:
                without.append(stem)
            else:
                root = _parse(paths)
            name = _image_of(stem, root, images.get(stem, []), files.images)
        except ValueError as error:
            found.unreadable.append((paths[0].name, f'{paths[0]} {error}{listed_in}'))
            continue
        width, height = _size(root, files.images / name)
        entries.append(dict(id=len(entries) + 1, file_name=name, width=width, height=height))
        for number, element in enumerate(root.iter('object'), 1):
            place = f'{paths[0].name}, object {number}'
            outlined += element.find('polygon') is not None
            try:
                objects.append(_object(element, len(entries), place, first=0 if of_cvat else 1))
            except ValueError as error:
                message = f'{paths[0]}: object {number} {error}{listed_in}'
                found.unreadable.append((paths[0].name, message))
    found.content = _content(entries, objects)
    found.skipped = list(_notes(folder, of_cvat, without, outlined))
    return found


def _content(entries: list[dict], objects: list[tuple[str, dict]]) -> dict[str, Any]:
    names = sorted({name for name, _ in objects})
    ids = {name: number for number, name in enumerate(names, 1)}
    for number, (name, annotation) in enumerate(objects, 1):
        annotation.update(id=number, category_id=ids[name])
    return dict(
        images=entries,
        annotations=[annotation for _, annotation in objects],
        categories=[dict(id=number, name=name) for name, number in ids.items()],
    )


def _notes(
    folder: Path, of_cvat: bool, without: list[str], outlined: int
) -> Iterator[tuple[str, str]]:
    if of_cvat:
        message = f'boxes of {folder} count from 0, as those of CVAT and Datumaro do ({_OF_CVAT})'
        yield str(folder), message
    if without:
        message = (
            f'{len(without)} listed image(s) have no XML file and are taken for images without '
            f'objects; first {without[0]}'
        )
        yield str(folder), message
    if outlined:
        message = (
            f'the outlines of {outlined} object(s) (<polygon>) are not read, and their boxes are; '
            'export COCO format for both'
        )
        yield str(folder), message


def _is_label(folder: Path) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() == '.xml' and path.is_relative_to(folder)


def _describe_no_file(annotations: Path) -> str:
    message = f'annotation folder {annotations} holds no XML file'
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


def _image_of(stem: str, root: ElementTree.Element, candidates: list[Path], images: Path) -> str:
    """Return the path of the image that an XML file is about, from the folder of images.

    Raises:
        ValueError: If it may be one or another.
    """
    named = (root.findtext('filename') or '').strip()
    names = [path.name for path in candidates]
    if len(names) == 1:
        return candidates[0].relative_to(images).as_posix()
    last = re.split(r'[\\/]', named)[-1]
    if not names:
        return Path(stem).with_name(last or f'{Path(stem).name}.jpg').as_posix()
    if last not in names:
        raise ValueError(
            f'may be about {names[0]} or {names[1]}, and its <filename> {named!r} is neither; '
            'name one there, or take one away'
        )
    return Path(stem).with_name(last).as_posix()


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


def _object(
    element: ElementTree.Element, image_id: int, source: str, first: int
) -> tuple[str, dict]:
    """Return the name and the annotation of one ``<object>``, pixels counted from ``first``.

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
        bbox=[x1 - first, y1 - first, width, height],
        area=max(width, 0.0) * max(height, 0.0),
        iscrowd=int(difficult),
        source=source,
    )


def _holds(path: Path) -> bool:
    """Return whether XML files of VOC lie in a folder or below it, by the first of them."""
    return path.is_dir() and (_is_voc(path.glob('*.xml')) or _is_voc(path.rglob('*.xml')))


def _is_voc(files: Iterable[Path]) -> bool:
    first = next(iter(files), None)
    return first is not None and kind_of_xml(first) == 'voc'


def _describe(path: Path) -> dict[str, Any] | None:
    if not path.is_dir():
        return None
    for labels, images in _FOLDERS:
        if _holds(path / labels) and (path / images).is_dir():
            source = dict(annotations=str(path / labels), images=str(path / images))
            return dict(root=str(path), **_split_by_lists(path / 'ImageSets/Main', source))
    folders = split_folders(path).items()
    splits = {split: child for split, child in folders if _is_voc(child.glob('*.xml'))}
    if 'train' in splits:
        sources = {split: _beside(child) for split, child in splits.items()}
        return dict(root=str(path), **sources)
    return dict(root=str(path), data=_beside(path)) if _is_voc(path.glob('*.xml')) else None


def _beside(folder: Path) -> list[dict[str, str]]:
    return [dict(annotations=str(folder), images=str(folder))]


def _split_by_lists(lists: Path, source: dict[str, str]) -> dict[str, Any]:
    found = {name: lists / f'{name}.txt' for name in ('train', 'val', 'test')}
    splits = {name: [dict(source, list=str(p))] for name, p in found.items() if p.is_file()}
    return splits if {'train', 'val'} <= set(splits) else dict(data=[source])


FORMAT = Format(
    name='Pascal VOC',
    reads='a folder of XML files, one per image, or with Annotations and JPEGImages',
    holds=_holds,
    describe=_describe,
    read=read_voc,
    reads_lists=True,
)
