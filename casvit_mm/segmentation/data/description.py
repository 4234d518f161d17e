"""The YAML file that describes a segmentation dataset.

::

    root: .                                   # counts from this file; may be left out
    train: {images: train, labels: trainannot, list: train.txt}   # list may be left out
    val:   {images: val, labels: valannot}
    test:  {images: test, labels: testannot}  # may be left out: val is used
    classes: [sky, building, road]            # or with colours: {sky: [70, 130, 180], ...}
    ignore: 255                               # value or values neither learnt nor scored
    reduce_zero_label: false                  # true: 0 is unlabelled, the first class is value 1

An image and its label, the segmentation mask, share their path below the two folders up to the
suffix. Where names differ in their ends, ``image_suffix`` and ``label_suffix`` beside the folders
say what to cut off. A list of such entries joins several sources. ``data`` and ``split`` take one
set apart, see :mod:`casvit_mm.datasets.description`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.datasets.description import (
    DatasetDescription,
    SourceFormat,
    read_names,
    read_shared_fields,
)
from casvit_mm.datasets.files import IMAGE_SUFFIXES
from casvit_mm.errors import InputError
from casvit_mm.plotting.colours import RGB, distinct_colours, read_colour

__all__ = [
    'IGNORED',
    'JPEG_SUFFIXES',
    'LABEL_SUFFIXES',
    'SegmentationDescription',
    'Source',
    'read_dataset',
]

IGNORED = 255  # mmseg pads labels with it
LABEL_SUFFIXES = {'.bmp', '.png', '.tif', '.tiff'}
JPEG_SUFFIXES = {'.jfif', '.jpe', '.jpeg', '.jpg'}


@dataclass(frozen=True)
class Source:
    """Label maps and the images they belong to.

    Attributes:
        images: Folder of images; those in folders below count.
        labels: Folder of segmentation masks.
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
        classes: Names, in the order of the values in the masks.
        palette: A colour for each class.
        ignore: Values in the masks that are neither learnt nor scored; 255 is always one, and
            0 with ``reduce_zero_label``.
        reduce_zero_label: Whether the first class has the value 1, not 0.
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore: frozenset[int] = frozenset({IGNORED})
    reduce_zero_label: bool = False

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
    classes, palette = _read_classes(content.get('classes'), path, reduce_zero_label)
    ignore = _read_ignore(content.get('ignore', IGNORED), path)
    if reduce_zero_label:
        ignore |= {0}
    return SegmentationDescription(
        **vars(shared),
        classes=classes,
        palette=palette,
        ignore=ignore,
        reduce_zero_label=reduce_zero_label,
    )


def _read_source(entry: dict[str, str], root: Path, where: str) -> Source:
    image_suffix, label_suffix = entry.get('image_suffix'), entry.get('label_suffix')
    if label_suffix is not None and Path(f'a{label_suffix}').suffix.lower() in JPEG_SUFFIXES:
        raise InputError(
            f'{where}: label_suffix {label_suffix!r} names JPEG files, whose compression changes '
            'label values. Export the masks as PNG.'
        )
    for field, suffix, known, example in (
        ('image_suffix', image_suffix, IMAGE_SUFFIXES, '_leftImg8bit.png'),
        ('label_suffix', label_suffix, LABEL_SUFFIXES, '_gtFine_labelTrainIds.png'),
    ):
        if suffix is not None and Path(f'a{suffix}').suffix.lower() not in known:
            raise InputError(
                f'{where}: {field} {suffix!r} must be what file names end with, with one of '
                f'{" ".join(sorted(known))}; for Cityscapes it is {example}'
            )
    return Source(
        (root / entry['images']).resolve(),
        (root / entry['labels']).resolve(),
        (root / entry['list']).resolve() if 'list' in entry else None,
        image_suffix,
        label_suffix,
    )


def _read_classes(
    value: Any, path: Path, reduce_zero_label: bool
) -> tuple[tuple[str, ...], tuple[RGB, ...]]:
    """Return names and colours."""
    if not isinstance(value, (list, dict)) or not value:
        raise InputError(
            f'{path}: classes must list the names in the order of the label values, like '
            '[sky, road], or with colours, like {sky: [70, 130, 180], road: [128, 64, 128]}'
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
    if isinstance(value, list):
        return names, distinct_colours(len(names))
    return names, tuple(_read_colour(name, colour, path) for name, colour in value.items())


def _read_colour(name: Any, value: Any, path: Path) -> RGB:
    try:
        return read_colour(value)
    except (TypeError, ValueError):
        raise InputError(
            f'{path}: classes gives {str(name)!r} the colour {value!r}; expected three values from '
            "0 to 255, like [70, 130, 180], or '#4682b4' in quotation marks. Without colours, "
            'write classes as a list.'
        ) from None


def _read_ignore(value: Any, path: Path) -> frozenset[int]:
    values = value if isinstance(value, list) else [value]
    for one in values:
        if not isinstance(one, int) or isinstance(one, bool) or not 0 <= one <= IGNORED:
            raise InputError(
                f'{path}: ignore must be a label value from 0 to 255 or a list of them, got '
                f'{value!r}'
            )
    return frozenset({*values, IGNORED})
