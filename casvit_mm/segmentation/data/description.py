"""The YAML file that describes a segmentation dataset.

::

    root: .                                   # counts from this file; may be left out
    train: {images: train, labels: trainannot, list: train.txt}   # list may be left out
    val:   {images: val, labels: valannot}
    test:  {images: test, labels: testannot}  # may be left out: val is used
    classes: [sky, building, road]            # in the order of the values in the masks; or with
                                              #   values, {membrane: 0, cell: [254, 255]}, or
                                              #   colours, {sky: [70, 130, 180], road: '#804080'}
    ignore: 255                               # value or values neither learnt nor scored
    reduce_zero_label: false                  # true: 0 is unlabelled, the first class is value 1

Colours are the labels of masks that are RGB images; masks of indices they are drawn in.

An image and its label, the segmentation mask, share their path below the two folders up to the
suffix. Where names differ in their ends, ``image_suffix`` and ``label_suffix`` beside the folders
say what to cut off. A list of such entries joins several sources. ``data`` and ``split`` take one
set apart, see :mod:`casvit_mm.datasets.description`.

``annotations`` in place of ``labels`` names objects in any format that detection reads; their
outlines are drawn, see :mod:`casvit_mm.segmentation.data.rasters`::

    train: {images: train, annotations: train.json}
    classes: [cat, dog]                       # may be left out; drops, renames, joins categories
    background: ground                        # name of the class of all other pixels (background);
                                              #   null: they are neither learnt nor scored
    ignore: [reflection]                      # categories neither learnt nor scored
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from casvit_mm.datasets.class_fields import read_names
from casvit_mm.datasets.description import (
    DatasetDescription,
    SourceFormat,
    described_task,
    read_shared_fields,
)
from casvit_mm.datasets.files import IMAGE_SUFFIXES
from casvit_mm.datasets.object_description import ObjectDescription, read_object_fields
from casvit_mm.datasets.object_sources import LoadedSplit
from casvit_mm.deploy.canvas import RGB, distinct_colours
from casvit_mm.errors import InputError
from casvit_mm.plotting.colours import read_colour
from casvit_mm.segmentation.data.rasters import IGNORED, category_names

__all__ = [
    'IGNORED',
    'JPEG_SUFFIXES',
    'LABEL_SUFFIXES',
    'LARGEST',
    'SegmentationDescription',
    'Source',
    'read_dataset',
]

LABEL_SUFFIXES = {'.bmp', '.png', '.tif', '.tiff'}
LARGEST = 2**16 - 1  # value in a mask that classes may name
JPEG_SUFFIXES = {'.jfif', '.jpe', '.jpeg', '.jpg'}


@dataclass(frozen=True)
class Source:
    """Label maps and the images they belong to.

    Attributes:
        images: Folder of images; those in folders below count.
        labels: Folder of segmentation masks; where objects are drawn, their annotations.
        image_list: Text file with the names of the images to take, one per line; None takes all.
        image_suffix: How the names of images end, e.g. ``'_leftImg8bit.png'``; None takes every
            image, without its suffix as name.
        label_suffix: The same for masks.
    """

    images: Path
    labels: Path
    image_list: Path | None = None
    image_suffix: str | None = None
    label_suffix: str | None = None


@dataclass(frozen=True)
class SegmentationDescription(DatasetDescription[Source]):
    """A segmentation dataset as its YAML file describes it.

    Attributes:
        classes: Names, in the order of the values that training reads.
        palette: A colour for each class.
        ignore: Values that training reads and neither learns nor scores; 255 is always one, and
            0 with ``reduce_zero_label``.
        reduce_zero_label: Whether the first class has the value 1, not 0.
        values: By value in the files, the one that training reads; None if they are the same.
        colours: By colour in masks that are RGB images, the value that training reads; None if
            ``classes`` does not give every class a colour of its own.
        objects: What is drawn into masks; None where masks are named.
        drawn: By name of a category, the value of its pixels.
        background: Value of the pixels of no object.
        read: Splits of ``objects`` that had to be read to know the classes; drawing takes them out.
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore: frozenset[int] = frozenset({IGNORED})
    reduce_zero_label: bool = False
    values: dict[int, int] | None = None
    colours: dict[RGB, int] | None = None
    objects: ObjectDescription | None = None
    drawn: dict[str, int] = field(default_factory=dict)
    background: int = 0
    read: dict[str, LoadedSplit] = field(default_factory=dict, repr=False, compare=False)

    @property
    def first_value(self) -> int:
        """Value of the first class in the masks."""
        return int(self.reduce_zero_label)


def read_dataset(path: str | Path) -> SegmentationDescription:
    """Read the ``dataset.yaml`` of a segmentation dataset.

    Raises:
        InputError: If it is missing, not YAML, describes another task, or has unknown, missing or
            malformed fields.
    """
    if described_task(path) == 'detection':
        return _read_objects(path)
    optional = ('list', 'image_suffix', 'label_suffix')
    sources = SourceFormat('segmentation', ('images', 'labels'), optional, _read_source)
    fields = {'classes', 'ignore', 'reduce_zero_label'}
    shared, content = read_shared_fields(path, sources, fields)
    path = shared.path
    reduce_zero_label = content.get('reduce_zero_label', False)
    if not isinstance(reduce_zero_label, bool):
        raise InputError(
            f'{path}: reduce_zero_label must be true or false, got {reduce_zero_label!r}'
        )
    written = content.get('classes')
    classes = _read_classes(written, path, reduce_zero_label)
    ignored = content.get('ignore')
    if isinstance(written, dict) and _are_values(written.values()):
        if reduce_zero_label:
            raise InputError(
                f'{path}: classes gives the value of every class, so reduce_zero_label has no '
                'meaning. Leave it out; put the value for unlabelled under ignore:'
            )
        values = _read_values(written, ignored, path)
        palette = distinct_colours(len(classes))
        return SegmentationDescription(
            **vars(shared), classes=classes, palette=palette, values=values
        )
    palette, colours = distinct_colours(len(classes)), None
    if isinstance(written, dict):
        palette = tuple(_read_colour(name, colour, path) for name, colour in written.items())
        ignored, void = _part_ignored(ignored)
        colours = _colour_values(palette, void, int(reduce_zero_label), path)
    ignore = _read_ignore(ignored, path, IGNORED) | {IGNORED}
    if reduce_zero_label:
        ignore |= {0}
    return SegmentationDescription(
        **vars(shared),
        classes=classes,
        palette=palette,
        ignore=ignore,
        reduce_zero_label=reduce_zero_label,
        colours=colours,
    )


def _read_objects(path: str | Path) -> SegmentationDescription:
    """Read a description of objects that are drawn into masks.

    Raises:
        InputError: As :func:`read_dataset`; or if the classes are too many or too few.
    """
    objects, content = read_object_fields(path, {'background', 'ignore', 'max_dets'})
    path = objects.path
    ignored = _read_ignored_classes(content.get('ignore'), path)
    if objects.classes is not None:
        kept = {name: (name,) for name in ignored if name not in objects.classes}
        objects = replace(objects, classes={**objects.classes, **kept})
    read: dict[str, LoadedSplit] = {}
    names = category_names(objects, read)
    if unknown := [name for name in ignored if name not in names]:
        raise InputError(f'{path}: ignore names {unknown[0]!r}, and the categories are {names}')
    background = content.get('background', 'background')
    drawn = tuple(name for name in names if name not in ignored and name != background)
    if background is not None:
        drawn = (*read_names([background], path, 'background'), *drawn)
    classes = _read_classes(list(drawn), path, False)
    values = dict.fromkeys(ignored, IGNORED) | {name: i for i, name in enumerate(classes)}
    sources = {
        split: tuple(Source(one.images, one.annotations, one.image_list) for one in found)
        for split, found in objects.splits.items()
    }
    return SegmentationDescription(
        path,
        objects.root,
        sources,
        objects.split,
        notes=objects.notes,
        classes=classes,
        palette=distinct_colours(len(classes)),
        objects=objects,
        drawn=values,
        background=IGNORED if background is None else 0,
        read=read,
    )


def _read_ignored_classes(written: Any, path: Path) -> tuple[str, ...]:
    listed = written if isinstance(written, list) else [] if written is None else [written]
    return read_names(listed, path, 'ignore')


def _read_source(entry: dict[str, str], root: Path, where: str) -> Source:
    image_suffix, label_suffix = entry.get('image_suffix'), entry.get('label_suffix')
    if label_suffix is not None and Path(f'a{label_suffix}').suffix.lower() in JPEG_SUFFIXES:
        raise InputError(
            f'{where}: label_suffix {label_suffix!r} names JPEG files, whose compression changes '
            'label values. Export the masks as PNG.'
        )
    for name, suffix, known, example in (
        ('image_suffix', image_suffix, IMAGE_SUFFIXES, '_leftImg8bit.png'),
        ('label_suffix', label_suffix, LABEL_SUFFIXES, '_gtFine_labelTrainIds.png'),
    ):
        if suffix is not None and Path(f'a{suffix}').suffix.lower() not in known:
            raise InputError(
                f'{where}: {name} {suffix!r} must be what file names end with, with one of '
                f'{" ".join(sorted(known))}; for Cityscapes it is {example}'
            )
    return Source(
        (root / entry['images']).resolve(),
        (root / entry['labels']).resolve(),
        (root / entry['list']).resolve() if 'list' in entry else None,
        image_suffix,
        label_suffix,
    )


def _read_classes(value: Any, path: Path, reduce_zero_label: bool) -> tuple[str, ...]:
    """Return the names."""
    if not isinstance(value, (list, dict)) or not value:
        raise InputError(
            f'{path}: classes must list the names in the order of the label values, like '
            '[sky, road], or with their values, like {membrane: 0, cell: 255}, or with colours, '
            'like {sky: [70, 130, 180], road: [128, 64, 128]}'
        )
    names = read_names(value, path)
    first = int(reduce_zero_label)
    if len(names) < 2:
        raise InputError(
            f'{path}: classes names {names[0]!r} alone, and with one class there is nothing to '
            f'tell apart. Name what is around it as well, like [ground, {names[0]}].'
        )
    if len(names) > IGNORED - first:
        raise InputError(
            f'{path}: classes lists {len(names)} names, but 8-bit masks hold at most '
            f'{IGNORED - first}: values {first} to {IGNORED - 1}, and {IGNORED} is always ignored'
        )
    return names


def _are_values(written: Iterable[Any]) -> bool:
    """Return whether classes have values, not colours: three numbers alone are a colour."""
    written = list(written)
    if any(isinstance(one, str) for one in written):
        return False
    return any(_is_value(one) or (isinstance(one, list) and len(one) != 3) for one in written)


def _is_value(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_values(classes: dict[str, Any], ignored: Any, path: Path) -> dict[int, int]:
    """Return by value in the files the one that training reads, that of ignored ones included."""
    found: dict[int, int] = {}
    for position, (name, written) in enumerate(classes.items()):
        values = written if isinstance(written, list) else [written]
        if not values or not all(_is_value(one) and 0 <= one <= LARGEST for one in values):
            raise InputError(
                f'{path}: classes gives {str(name)!r} the value {written!r}; expected a value in '
                f'the masks from 0 to {LARGEST}, or a list of them, like [1, 2]'
            )
        for one in values:
            if found.setdefault(one, position) != position:
                other = list(classes)[found[one]]
                raise InputError(
                    f'{path}: classes gives the value {one} to {other!r} and to {str(name)!r}; '
                    'every value is one class'
                )
    for one in _read_ignore(ignored, path, LARGEST):
        if one in found:
            name = list(classes)[found[one]]
            raise InputError(
                f'{path}: the value {one} is class {str(name)!r} and under ignore: as well; take '
                'it out of one of the two'
            )
        found[one] = IGNORED
    found.setdefault(IGNORED, IGNORED)
    return found


def _part_ignored(written: Any) -> tuple[Any, list[Any]]:
    """Return the values and the colours under ``ignore``."""
    listed = written if isinstance(written, list) else [written]
    colours = [one for one in listed if isinstance(one, (str, list))]
    return (written, []) if not colours else ([v for v in listed if v not in colours], colours)


def _colour_values(
    palette: tuple[RGB, ...], ignored: list[Any], first: int, path: Path
) -> dict[RGB, int] | None:
    """Return by colour the value that training reads; None if two classes have one colour."""
    found = {colour: first + i for i, colour in enumerate(palette)}
    for written in ignored:
        try:
            colour = read_colour(written)
        except (TypeError, ValueError):
            raise InputError(
                f"{path}: ignore has the colour {written!r}; expected one like '#000000', or "
                '[[0, 0, 0]]'
            ) from None
        if colour in found:
            raise InputError(
                f'{path}: the colour {written!r} is a class and under ignore: as well; take it out '
                'of one of the two'
            )
        found[colour] = IGNORED
    return found if len(found) == len(palette) + len(ignored) else None


def _read_colour(name: Any, value: Any, path: Path) -> RGB:
    try:
        return read_colour(value)
    except (TypeError, ValueError):
        raise InputError(
            f'{path}: classes gives {str(name)!r} the colour {value!r}; expected three values from '
            "0 to 255, like [70, 130, 180], or '#4682b4' in quotation marks. Without colours, "
            'write classes as a list.'
        ) from None


def _read_ignore(written: Any, path: Path, largest: int) -> frozenset[int]:
    values = written if isinstance(written, list) else [] if written is None else [written]
    for one in values:
        if not _is_value(one) or not 0 <= one <= largest:
            raise InputError(
                f'{path}: ignore must be a label value from 0 to {largest} or a list of them, got '
                f"{written!r}. Colours, like '#000000', go with classes that have colours."
            )
    return frozenset(values)
