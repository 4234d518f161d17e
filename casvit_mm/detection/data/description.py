"""The YAML file in which a user describes a detection data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.datasets.description import (
    SPLITS,
    DatasetDescription,
    FoldSplit,
    RandomSplit,
    read_description,
    read_entries,
    read_splits,
    refuse_other_task,
    refuse_unknown,
)
from casvit_mm.errors import InputError

__all__ = ['DetectionDescription', 'Source', 'read_dataset']


@dataclass(frozen=True)
class Source:
    """Annotations and the images they belong to.

    Attributes:
        annotations: COCO file, or folder of Pascal VOC XML files.
        images: Folder that the names of images count from.
        image_list: Text file with the names of the images to take, one per line; None takes all.
    """

    annotations: Path
    images: Path
    image_list: Path | None = None


@dataclass(frozen=True)
class DetectionDescription(DatasetDescription[Source]):
    """A detection set as its YAML file describes it.

    Attributes:
        split: How the sources are taken apart; None where the splits are given.
        classes: Names to learn, in order, each with the category names that count as it; None takes
            the categories as they are.
        max_dets: Detections per image that training and evaluation allow for.
    """

    split: RandomSplit | FoldSplit | None = None
    classes: dict[str, tuple[str, ...]] | None = None
    max_dets: int = 100


def read_dataset(path: str | Path) -> DetectionDescription:
    """Read a ``dataset.yaml``.

    Raises:
        InputError: If it is missing, not YAML, or has unknown, missing or malformed fields.
    """
    path = Path(path)
    content = read_description(path)
    refuse_other_task(content, 'detection', path)
    known = {'root', 'max_dets', 'classes', 'data', 'split', *SPLITS}
    refuse_unknown(content, known, str(path))

    root = (path.parent / str(content.get('root', '.'))).resolve()
    splits, split = read_splits(
        content,
        path,
        'fields annotations and images',
        lambda value, name: _read_sources(value, name, root, path),
    )
    max_dets = content.get('max_dets', 100)
    if not isinstance(max_dets, int) or isinstance(max_dets, bool) or max_dets < 1:
        raise InputError(f'{path}: max_dets must be a positive integer, got {max_dets!r}')
    return DetectionDescription(path, root, splits, split, _read_classes(content, path), max_dets)


def _read_sources(value: Any, name: str, root: Path, path: Path) -> tuple[Source, ...]:
    return tuple(
        Source(
            (root / entry['annotations']).resolve(),
            (root / entry['images']).resolve(),
            (root / entry['list']).resolve() if 'list' in entry else None,
        )
        for entry in read_entries(value, name, path, ('annotations', 'images'), ('list',))
    )


def _read_classes(content: dict[str, Any], path: Path) -> dict[str, tuple[str, ...]] | None:
    """Return new name -> category names, in order."""
    value = content.get('classes')
    if value is None:
        return None
    if isinstance(value, list):
        value = {name: name for name in value}
        if len(value) < len(content['classes']):
            raise InputError(f'{path}: classes names one class twice: {content["classes"]}')
    if not isinstance(value, dict) or not value:
        raise InputError(
            f'{path}: classes must be a list of names, or new names with what counts as them, like '
            '{pet: [cat, dog]}'
        )
    classes = {
        str(new): tuple(map(str, old if isinstance(old, list) else [old]))
        for new, old in value.items()
    }
    sources = [old for names in classes.values() for old in names]
    twice = sorted({old for old in sources if sources.count(old) > 1})
    if twice:
        raise InputError(f'{path}: classes takes {twice[0]!r} into two classes; choose one')
    return classes
