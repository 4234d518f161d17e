"""Checks the splits of a detection dataset and makes each of them one COCO file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from casvit_mm.datasets.formats.coco import CocoSummary, check_content
from casvit_mm.datasets.formats.coco_columns import read_columns
from casvit_mm.datasets.formats.coco_index import write_indexed
from casvit_mm.datasets.formats.packed import no_collection
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.datasets.issues import first_of, notes_of, refuse_fatal
from casvit_mm.datasets.object_sources import LoadedSplit, load_split
from casvit_mm.datasets.splitting import shared_images
from casvit_mm.detection.data.description import DetectionDescription
from casvit_mm.detection.data.image_checks import file_issues, scan_split
from casvit_mm.detection.data.split_checks import (
    corner_boxes,
    empty_class,
    image_files,
    list_open_classes,
    open_names,
    small_images,
)
from casvit_mm.errors import InputError

__all__ = ['PreparedSplit', 'prepare_dataset']


@dataclass(frozen=True)
class PreparedSplit:
    """A checked split as COCO file.

    Attributes:
        annotations: The file, written by us, with its index beside it.
        images: Folder that ``file_name`` in it counts from.
        summary: What it holds.
        dropped: Annotations left out by ``classes``, by category.
        notes: What the user should know though it stops nothing.
    """

    annotations: Path
    images: Path
    summary: CocoSummary
    dropped: dict[str, int]
    notes: tuple[str, ...] = ()


@no_collection()
def prepare_dataset(
    data: DetectionDescription,
    splits: tuple[str, ...],
    folder: str | Path,
    with_masks: bool,
    classes: tuple[str, ...] | None = None,
    least_side: int = 0,
) -> dict[str, PreparedSplit]:
    """Check splits and write each of them as one COCO file.

    Args:
        data: The dataset.
        splits: Splits that will be read; for one that the set does not have, val is taken.
        folder: Where to write ``<split>.json``.
        with_masks: Whether every object needs a segmentation.
        classes: Names in the order of a trained model's outputs; None takes those of the
            description, else the categories of the first split.
        least_side: Pixels below which a side of an image leaves it out of training.

    Returns:
        Every one of ``splits``.

    Raises:
        InputError: If a split fails its checks, an image looks damaged, the splits or ``classes``
            disagree on the categories, a class has no object to learn from, or splits share images.
    """
    loaded = {name: load_split(data, name) for name in data.used_splits(splits)}
    for split in loaded.values():
        if split.unreadable:
            raise InputError(first_of([message for _, message in split.unreadable]))
    columns = {name: read_columns(split.content) for name, split in loaded.items()}
    summaries = {
        name: check_content(
            split.content, split.images, split.where, with_masks, name == 'test', columns[name]
        )
        for name, split in loaded.items()
    }
    for name, split in loaded.items():
        if message := corner_boxes(data, split, columns[name]):
            raise InputError(message)
    names = _agree_on_classes(data, loaded, summaries, classes)
    list_open_classes(loaded, names)
    if message := empty_class(data, loaded):
        raise InputError(message)
    for _, _, message in shared_images(image_files(loaded)):
        raise InputError(message)
    for name, split in loaded.items():
        _check_images(split, name, with_masks)
    small = []
    if 'train' in loaded:
        small = list(small_images(loaded['train'].content, least_side))
        refuse_fatal({'train': small})

    prepared = {}
    for name, split in loaded.items():
        # Not the user's own file, which mmdet might take for something else than was checked.
        annotations = Path(folder, f'{name}.json').resolve()
        write_indexed(annotations, split.content, plain=columns[name] is not None)
        summary = replace(summaries[name], classes=names) if split.open_classes else summaries[name]
        notes = (*split.notes, *(message for _, message in (*split.unused, *split.skipped)))
        notes += notes_of(small) if name == 'train' else ()
        prepared[name] = PreparedSplit(annotations, split.images, summary, split.dropped, notes)
    return {name: prepared[data.used_split(name)] for name in splits}


def _check_images(split: LoadedSplit, name: str, with_masks: bool) -> None:
    """Refuse images that are no images, are cut, or have another size than masks of theirs."""
    scans = scan_split(split.content, split.images, name, scan_headers)
    issues = file_issues(split.content, scans, with_masks)
    if fatal := [issue.message for issue in issues if issue.fatal]:
        raise InputError(f'{split.where}: {first_of(fatal)}')


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
