"""A user's data set, checked, put into COCO files and into any detection config."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from casvit_mm.datasets.formats.coco import CocoSummary, check_content
from casvit_mm.datasets.issues import first_of
from casvit_mm.datasets.splitting import describe_shared
from casvit_mm.detection.data.description import DetectionDescription
from casvit_mm.detection.data.sources import LoadedSplit, load_split
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = [
    'PreparedSplit',
    'empty_class',
    'list_open_classes',
    'open_names',
    'prepare_dataset',
    'shared_images',
]


@dataclass(frozen=True)
class PreparedSplit:
    """A checked split as COCO file.

    Attributes:
        annotations: The file: the user's own where it needs no change, else one written by us.
        images: Folder that ``file_name`` in it counts from.
        summary: What it holds.
        dropped: Annotations left out by ``classes``, by category.
    """

    annotations: Path
    images: Path
    summary: CocoSummary
    dropped: dict[str, int]


def prepare_dataset(
    data: DetectionDescription,
    splits: tuple[str, ...],
    folder: str | Path,
    with_masks: bool,
    classes: tuple[str, ...] | None = None,
) -> dict[str, PreparedSplit]:
    """Check splits and make sure that each is one COCO file.

    Args:
        data: The data set.
        splits: Splits that will be read; for one that the set does not have, val is taken.
        folder: Where to write files that have to be put together.
        with_masks: Whether every object needs a segmentation.
        classes: Names in the order of a trained model's outputs; None takes those of the
            description, else the categories of the first split.

    Returns:
        Every one of ``splits``.

    Raises:
        InputError: If a split fails its checks, the splits or ``classes`` disagree on the
            categories, a class has no object to learn from, or splits share images.
    """
    loaded = {name: load_split(data, name) for name in data.used_splits(splits)}
    for split in loaded.values():
        if split.problems:
            raise InputError(first_of([message for _, message in split.problems]))
    summaries = {
        name: check_content(split.content, split.images, split.where, with_masks)
        for name, split in loaded.items()
    }
    names = _agree_on_classes(data, loaded, summaries, classes)
    list_open_classes(loaded, names)
    if message := empty_class(data, loaded):
        raise InputError(message)
    for pair in shared_images(loaded):
        raise InputError(describe_shared(*pair))

    prepared = {}
    for name, split in loaded.items():
        annotations = split.file
        if annotations is None:
            annotations = Path(folder, f'{name}.json').resolve()
            write_json(annotations, split.content)
        summary = replace(summaries[name], classes=names) if split.open_classes else summaries[name]
        prepared[name] = PreparedSplit(annotations, split.images, summary, split.dropped)
    return {name: prepared[data.used_split(name)] for name in splits}


def _agree_on_classes(
    data: DetectionDescription,
    loaded: dict[str, LoadedSplit],
    summaries: dict[str, CocoSummary],
    classes: tuple[str, ...] | None,
) -> tuple[str, ...]:
    """Return the names to learn, after making sure that every split lists them."""
    reference = 'the checkpoint'
    if classes is None:
        reference = next(iter(loaded))
        classes = summaries[reference].classes
        if all(split.open_classes for split in loaded.values()):
            classes = open_names(loaded)
    for name, split in loaded.items():
        differing = set(summaries[name].classes) ^ set(classes)
        if split.open_classes:
            differing -= set(classes)
        if differing:
            raise InputError(
                f'{data.path}: {reference} and {name} disagree on the categories '
                f'{sorted(differing)}. Both must list the same categories, also those without '
                'objects; classes: in the description renames and drops.'
            )
    return classes


def list_open_classes(loaded: dict[str, LoadedSplit], names: tuple[str, ...]) -> None:
    """Give splits whose categories are those that occur the full list of them, in place.

    Names that are not in ``names`` follow behind them.
    """
    for split in loaded.values():
        if not split.open_classes:
            continue
        old = {category['id']: category['name'] for category in split.content['categories']}
        full = list(dict.fromkeys([*names, *old.values()]))
        for annotation in split.content['annotations']:
            annotation['category_id'] = full.index(old[annotation['category_id']]) + 1
        split.content['categories'] = [dict(id=i, name=name) for i, name in enumerate(full, 1)]


def open_names(loaded: dict[str, LoadedSplit]) -> tuple[str, ...]:
    """Return all category names that occur in splits with open classes, in alphabetical order."""
    return tuple(
        sorted(
            {c['name'] for s in loaded.values() if s.open_classes for c in s.content['categories']}
        )
    )


def empty_class(data: DetectionDescription, loaded: dict[str, LoadedSplit]) -> str | None:
    """Return what is wrong if a class has no object in train; None if nothing is.

    A class that a COCO file lists may be empty: somebody wrote it down on purpose.
    """
    train = loaded.get('train')
    if train is None or (data.classes is None and not train.open_classes):
        return None
    by_id = {category['id']: category['name'] for category in train.content['categories']}
    learnt = {
        by_id.get(a['category_id']) for a in train.content['annotations'] if not a.get('iscrowd')
    }
    empty = [name for name in by_id.values() if name not in learnt]
    if not empty:
        return None
    if data.classes is not None:
        return (
            f'{data.path}: classes leaves {empty[0]!r} without an object in train (it takes '
            f'{", ".join(data.classes[empty[0]])}). Correct the names, or leave the class out.'
        )
    return (
        f'{data.path}: class {empty[0]!r} occurs in another split but not in train. A typing '
        'error? Correct it there, or name the classes to learn under classes:'
    )


def shared_images(loaded: dict[str, LoadedSplit]) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield pairs of splits that list the same image files, and these files in order."""
    paths = {
        name: {
            split.images / image['file_name']
            for image in split.content['images']
            if isinstance(image, dict) and isinstance(image.get('file_name'), str)
        }
        for name, split in loaded.items()
    }
    for first, second in itertools.combinations(paths, 2):
        if shared := sorted(paths[first] & paths[second]):
            yield first, second, shared
