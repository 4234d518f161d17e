"""What the readers of labelling tools gather: COCO content, what could not be read, what to say."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from casvit_mm.datasets.files import find_images, read_text
from casvit_mm.datasets.formats.base import Annotations, SourceFiles
from casvit_mm.datasets.formats.outlines import merge_fields

__all__ = [
    'Gathering',
    'ImageFinder',
    'NoSurfaceError',
    'Shape',
    'gathered',
    'images_beside',
    'last_part',
    'number',
    'read_json',
    'read_start',
    'split_of',
]

# What tools and people call the parts of a set.
_SPLITS = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation'), 'val'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}

_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 exchange width and height


class NoSurfaceError(ValueError):
    """A shape that surrounds nothing, such as a line; its text is the kind."""


class Shape(NamedTuple):
    """A shape of a labelling tool.

    Attributes:
        label: Its class.
        group: What it shares with the other shapes of its object; None of one alone.
        fields: What ``outlines`` returns for it.
        attributes: What else is said of it.
    """

    label: str
    group: Any
    fields: dict[str, Any]
    attributes: dict[str, Any]


@dataclass
class Gathering:
    """What a reader has found so far.

    Attributes:
        images: Entries of COCO's list.
        unreadable: What could not be read, as (place, message); training refuses it.
        notes: What the user should know though it stops nothing.
        names: Classes that the files list, with objects or without; others that occur follow.
        classes: By ``file_name``, what is said of an image as a whole.
        is_label: As :class:`casvit_mm.datasets.formats.base.Annotations` has it.
    """

    images: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=dict)
    is_label: Callable[[Path], bool] | None = None
    _objects: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _lines: list[tuple[str, str]] = field(default_factory=list)

    def add_image(self, name: str, width: int, height: int) -> int:
        """Add an image and return its id."""
        number = len(self.images) + 1
        self.images.append(dict(id=number, file_name=name, width=width, height=height))
        return number

    def add_object(self, name: str, image_id: int, source: str, fields: dict[str, Any]) -> None:
        """Add an object of class ``name``, with what ``outlines`` returns for it."""
        identity = dict(image_id=image_id, iscrowd=0, source=source)
        self._objects.append((name, {**identity, **fields}))

    def add_shapes(
        self,
        image_id: int,
        size: tuple[int, int],
        place: str,
        shapes: Iterable[Any],
        read: Callable[[Any], Shape],
    ) -> None:
        """Add the objects of an image; shapes of one class and one group are one object.

        Args:
            image_id: What :meth:`add_image` returned.
            size: Width and height of the image.
            place: What messages call the image.
            shapes: As the format has them.
            read: Reads one; its ValueError refuses it.
        """
        objects: dict[Any, list[tuple[str, Shape]]] = {}
        for i, entry in enumerate(shapes, 1):
            source = f'{place}, shape {i}'
            try:
                shape = read(entry)
            except ValueError as error:
                self.refuse(source, error)
                continue
            key = i if shape.group is None else (shape.label, shape.group)
            objects.setdefault(key, []).append((source, shape))
        for parts in objects.values():
            source, first = parts[0]
            merged = merge_fields([shape.fields for _, shape in parts], *size)
            attributes = {k: v for _, shape in parts for k, v in shape.attributes.items()}
            more = dict(attributes=attributes) if attributes else {}
            self.add_object(first.label, image_id, source, {**merged, **more})

    def refuse(self, place: str, reason: object) -> None:
        """Say of a file or a shape why it cannot be read; a line is counted, and not learnt."""
        if isinstance(reason, NoSurfaceError):
            self._lines.append((str(reason), place))
        else:
            self.unreadable.append((place, f'{place} {reason}'))

    def content(self) -> dict[str, Any]:
        """Return COCO content; classes that nobody lists are in alphabetical order."""
        others = sorted({name for name, _ in self._objects} - set(self.names))
        ids = {name: i for i, name in enumerate([*self.names, *others], 1)}
        annotations = [
            dict(id=i, category_id=ids[name], **entry)
            for i, (name, entry) in enumerate(self._objects, 1)
        ]
        categories = [dict(id=i, name=name) for name, i in ids.items()]
        return dict(images=self.images, annotations=annotations, categories=categories)

    def annotations(self, place: Path) -> Annotations:
        """Return what a format returns; the notes are about ``place``."""
        notes = list(self.notes)
        if self._lines:
            kinds = Counter(kind for kind, _ in self._lines)
            listed = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common())
            notes.append(
                f'{kinds.total()} shape(s) surround nothing and are not learnt: {listed}; first '
                f'{self._lines[0][1]}'
            )
        return Annotations(
            self.content(),
            open_classes=not self.names,
            unreadable=self.unreadable,
            skipped=[(str(place), note) for note in notes],
            classes=self.classes,
            is_label=self.is_label,
        )


def gathered(read: Callable[[SourceFiles], Gathering]) -> Callable[[SourceFiles], Annotations]:
    """Return what a format has as ``read``, of a reader that gathers."""
    return lambda files: read(files).annotations(files.annotations)


@dataclass
class ImageFinder:
    """Finds images by paths that another machine may have written.

    Attributes:
        folder: Where the images lie, in it and below.
        elsewhere: Path as written and as found, of those that were found by their name alone.
    """

    folder: Path
    elsewhere: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for paths in find_images(self.folder).values():
            for path in paths:
                found.setdefault(path.name, []).append(path.relative_to(self.folder).as_posix())
        return found

    def find(self, written: str, beside: Path | None = None) -> str:
        """Return the path of an image from :attr:`folder`.

        Args:
            written: Path in the annotations, which may have the separators of Windows.
            beside: Folder that it counts from, where that is not :attr:`folder`.

        Raises:
            ValueError: If there is no such image, or several have its name.
        """
        name = last_part(written)
        if not name:
            raise ValueError('names no image')
        if (exact := self.exact(written, beside)) is not None:
            return exact
        plain = _with_slashes(written)
        found = self._by_name.get(name, [])
        if len(found) == 1:
            if found[0] != plain:
                self.elsewhere.append((written, found[0]))
            return found[0]
        if found:
            raise ValueError(
                f'names the image {written!r}, and {found[0]} and {found[1]} have that name; '
                'write the path of one'
            )
        raise ValueError(f'names the image {written!r}, which is not in {self.folder}')

    def exact(self, written: str, beside: Path | None = None) -> str | None:
        """Return the same for an image that lies where the path says, None for others."""
        plain = _with_slashes(written)
        if re.match(r'/|[A-Za-z]:', plain):
            return None
        for base in (self.folder,) if beside is None else (beside, self.folder):
            try:
                inside = _inside(base / plain, self.folder) if (base / plain).is_file() else None
            except (OSError, ValueError):  # too long, or with a zero byte in it
                return None
            if inside is not None:
                return inside
        return None

    def notes(self) -> list[str]:
        """Say how many images were found by their name alone."""
        if not self.elsewhere:
            return []
        written, found = self.elsewhere[0]
        return [
            f'{len(self.elsewhere)} image(s) were found by their name alone, not where the '
            f'annotations say: {written} is {found}'
        ]

    def size(self, name: str) -> tuple[int, int]:
        """Return upright width and height of an image; 0 of one that is no image.

        What is wrong with the file is an issue of its own.
        """
        try:
            with Image.open(self.folder / name) as image:
                turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
                return (image.height, image.width) if turned else image.size
        except Exception:
            return 0, 0


def _with_slashes(path: str) -> str:
    return re.sub(r'[\\/]+', '/', path)


def _inside(path: Path, folder: Path) -> str | None:
    """Return a path from a folder, ``..`` in it resolved; None if it lies outside.

    An image may be a link to a file elsewhere, so that links are followed only where the path would
    lie outside without.
    """
    for one, other in (
        (Path(os.path.abspath(path)), Path(os.path.abspath(folder))),
        (path.resolve(), folder.resolve()),
    ):
        if one.is_relative_to(other):
            return one.relative_to(other).as_posix()
    return None


def split_of(name: str) -> str | None:
    """Return the split that the name of a folder or a subset stands for, None if it is none."""
    return _SPLITS.get(name.lower())


def images_beside(annotations: Path) -> Path:
    """Return the folder of images of a file: ``images`` beside it, else the one that it lies in."""
    folder = annotations.parent / 'images'
    return folder if folder.is_dir() else annotations.parent


def last_part(path: str) -> str:
    """Return the name of the file of a path as Linux or Windows writes it."""
    return re.split(r'[\\/]', path.strip())[-1]


def number(value: Any, what: str) -> float:
    """Return a coordinate as float.

    Raises:
        ValueError: If it is no finite number; a decimal comma is named.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        found = float(value)
    except (TypeError, ValueError):
        comma = isinstance(value, str) and re.fullmatch(r'\s*-?\d+,\d+\s*', value)
        advice = '; write a decimal point for the comma' if comma else ''
        raise ValueError(f'has {what} {value!r}, not a number{advice}') from None
    if not abs(found) < 1e9:  # NaN neither
        raise ValueError(f'has {what} {value!r}, which is no coordinate')
    return found


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a text, in UTF-8 also where the file is in UTF-16."""
    with path.open('rb') as file:
        start = file.read(size)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return start.decode('utf-16', 'ignore').encode()
    return start.removeprefix(codecs.BOM_UTF8)


def read_json(path: Path, expected: Callable[[Any], bool], what: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: If it is not JSON, or not what is expected.
    """
    try:
        content = json.loads(read_text(path))
    except FileNotFoundError:
        raise ValueError('does not exist') from None
    except (OSError, ValueError, RecursionError) as error:  # of Unicode too
        raise ValueError(f'is not JSON: {error}. Export it again.') from error
    if not expected(content):
        raise ValueError(f'is no {what}')
    return content
