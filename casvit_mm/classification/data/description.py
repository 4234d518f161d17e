"""The YAML file that describes a classification dataset: image folders.

::

    root: .                         # counts from this file; may be left out
    train: {images: train}          # a folder with one folder of images for each class
    val:   {images: val}
    test:  {images: test}           # may be left out: val is used
    classes: [cat, dog]             # may be left out: the names of the folders, sorted; or renames
                                    #   and joins: {cat: [cat, Cat], dog: dog}
    skip_unreadable: false          # true: leaves unreadable images out instead of stopping

``list`` beside ``images`` names a text file with the images to take, ``NAME`` or ``NAME LABEL`` in
each line. The class is the first folder that NAME lies in below ``images``; of images that lie in
none, and with ``class_from: list`` of all, it is LABEL: a name, or the position in ``classes``,
counted from ``first_label`` (0). ``annotations`` with ``class_from: annotations`` names an export
of CVAT, LabelMe or Label Studio whose tags, flags or choices are the classes. A list of such
entries joins several sources. Instead of ``train`` and ``val``, ``data`` with
``split: {val: 0.2, test: 0.1, seed: 0}`` takes one set apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit_mm.datasets.class_fields import read_class_map
from casvit_mm.datasets.description import (
    DatasetDescription,
    SourceFormat,
    read_shared_fields,
)
from casvit_mm.errors import InputError

__all__ = ['ClassificationDescription', 'Source', 'read_dataset']

_CLASS_FROM = ('folders', 'list', 'annotations')


@dataclass(frozen=True)
class Source:
    """A folder of images whose classes are told by folders or by a list.

    Attributes:
        images: Folder of images; those in folders below count.
        image_list: Text file with the images to take, and perhaps their labels; None takes all.
        class_from_list: Whether labels of the list decide on the class of images in folders too.
        annotations: File or folder of a labelling tool that says the classes; None elsewhere.
        subset: Name of the part of it to take, as CVAT has it; None takes all.
    """

    images: Path
    image_list: Path | None = None
    class_from_list: bool = False
    annotations: Path | None = None
    subset: str | None = None


@dataclass(frozen=True)
class ClassificationDescription(DatasetDescription[Source]):
    """A classification dataset as its YAML file describes it.

    Attributes:
        classes: Names in the order of the labels; None takes those that occur, sorted.
        joined: By name of a folder or label that is no class itself, the class that it counts as.
        first_label: Number that lists give to the first of ``classes``.
        skip_unreadable: Whether images that cannot be read are left out, instead of refused.
    """

    classes: tuple[str, ...] | None = None
    joined: Mapping[str, str] = field(default_factory=dict)
    first_label: int = 0
    skip_unreadable: bool = False

    def class_of(self, written: str) -> str:
        """Return the class that the name of a folder or a label stands for."""
        return self.joined.get(written, written)


def read_dataset(path: str | Path) -> ClassificationDescription:
    """Read the ``dataset.yaml`` of a classification dataset.

    Raises:
        InputError: If it is missing, not YAML, describes another task, or has unknown, missing or
            malformed fields.
    """
    meaning = 'a folder with one folder for each class'
    optional = ('list', 'class_from', 'annotations', 'subset')
    sources = SourceFormat('classification', ('images',), optional, _read_source, meaning)
    fields = {'classes', 'first_label', 'skip_unreadable'}
    shared, content = read_shared_fields(path, sources, fields)
    path = shared.path
    first_label = content.get('first_label', 0)
    if not isinstance(first_label, int) or isinstance(first_label, bool) or first_label < 0:
        raise InputError(
            f'{path}: first_label must be the number that lists give to the first class, 0 or '
            f'above, got {first_label!r}'
        )
    skip_unreadable = content.get('skip_unreadable', False)
    if not isinstance(skip_unreadable, bool):
        raise InputError(f'{path}: skip_unreadable must be true or false, got {skip_unreadable!r}')
    classes, joined = _read_classes(content.get('classes'), path)
    return ClassificationDescription(
        **vars(shared),
        classes=classes,
        joined=joined,
        first_label=first_label,
        skip_unreadable=skip_unreadable,
    )


def _read_source(entry: dict[str, str], root: Path, where: str) -> Source:
    class_from = entry.get('class_from', _CLASS_FROM[0])
    if class_from not in _CLASS_FROM:
        raise InputError(
            f'{where}: class_from must be one of {", ".join(_CLASS_FROM)}, got {class_from!r}'
        )
    if class_from == 'list' and 'list' not in entry:
        raise InputError(f'{where}: class_from: list needs a text file under list:')
    by_tool = class_from == 'annotations'
    if by_tool != ('annotations' in entry) or (by_tool and 'list' in entry):
        raise InputError(
            f'{where}: class_from: annotations belongs to annotations:, an export of CVAT, LabelMe '
            'or Label Studio, without list:'
        )
    if by_tool:
        annotations = (root / entry['annotations']).resolve()
        images = (root / entry['images']).resolve()
        return Source(images, annotations=annotations, subset=entry.get('subset'))
    image_list = (root / entry['list']).resolve() if 'list' in entry else None
    return Source((root / entry['images']).resolve(), image_list, class_from == 'list')


def _read_classes(value: Any, path: Path) -> tuple[tuple[str, ...] | None, dict[str, str]]:
    """Return the names, and what counts as them."""
    if value is None:
        return None, {}
    found = read_class_map(value, path)
    names = tuple(found)
    if len(names) < 2:
        raise InputError(
            f'{path}: classes names {names[0]!r} alone, and with one class there is nothing to '
            'tell apart'
        )
    return names, {old: new for new, olds in found.items() for old in olds if old != new}
