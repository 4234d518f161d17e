"""Writes a clean copy of a dataset's lists: what can be fixed is, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casvit_mm.classification.data.checks import Inspection
from casvit_mm.classification.data.description import Source
from casvit_mm.classification.data.issues import ISSUE_KINDS
from casvit_mm.classification.data.sources import LabelledImage
from casvit_mm.datasets.classes import how_to_join
from casvit_mm.datasets.copies import (
    describe_split,
    fixed_issues,
    is_one_set,
    refuse_copy,
    refuse_empty,
    write_description,
    write_list,
)
from casvit_mm.datasets.issues import FIXED_IN_TRAIN, Issue
from casvit_mm.errors import InputError

__all__ = ['fix_dataset']


def fix_dataset(inspection: Inspection, folder: str | Path) -> tuple[Path, list[tuple[str, Issue]]]:
    """Write lists of the images that can be used, with their classes, and a ``dataset.yaml``.

    Images stay where they are.

    Args:
        inspection: What was found, with the images decoded.
        folder: Where to write the lists, ``changes.json`` and ``dataset.yaml``.

    Returns:
        The ``dataset.yaml``, and what was fixed as (split, issue).

    Raises:
        InputError: If such a file is there already, something is wrong that only a person can
            fix, or no image of a split would be left.
    """
    folder = Path(folder)
    data = inspection.data
    splits = list(inspection.scans)

    def by_hand(split: str, issue: Issue) -> bool:
        if issue.kind in FIXED_IN_TRAIN:
            return split != 'train'
        if issue.kind == 'empty class folder':  # of a class that was written down on purpose
            return issue.fatal and data.classes is not None
        return not ISSUE_KINDS[issue.kind].fix

    kept = {split: list(_kept_images(inspection, split)) for split in splits}
    # The first of the splits has all images where an issue has kept them together.
    whole = is_one_set(data.split, bool(inspection.listings['val'].images))
    if whole:
        kept = {'data': [image for images in kept.values() for image in images]}
    names = [f'{split}.txt' for split in kept]
    refuse_copy(folder, names, inspection.issues, by_hand)
    _refuse_missing(inspection, kept)
    _refuse_alike(inspection.classes)
    description: dict[str, Any] = {}
    for split, images in kept.items():
        sources = data.splits['train' if whole else split]
        description[split] = _write_sources(folder, split, sources, images)
    if whole and data.split is not None:
        description['split'] = describe_split(data.split)
    # Lists and descriptions have no blanks around names.
    description['classes'] = [name.strip() for name in inspection.classes]
    changes = fixed_issues(inspection.issues, ISSUE_KINDS, by_hand)
    changes += _joined(inspection)
    return write_description(folder, description, changes, ISSUE_KINDS), changes


def _refuse_missing(inspection: Inspection, kept: dict[str, list[LabelledImage]]) -> None:
    """Refuse a copy that lacks the images of a split, or of a class that is to be learnt."""
    for split, images in kept.items():
        if not images:
            refuse_empty(split, inspection.data.path)
        there = {image.class_name for image in images}
        for name in inspection.classes:
            if name not in there and split not in ('val', 'test'):
                refuse_empty(f'class {name!r} of {split}', inspection.data.path)


def _refuse_alike(classes: tuple[str, ...]) -> None:
    """Refuse names that differ in blanks at their ends alone, which lists do not keep."""
    firsts: dict[str, str] = {}
    for name in classes:
        first = firsts.setdefault(name.strip(), name)
        if first != name:
            raise InputError(
                f'--fix cannot tell classes {first!r} and {name!r} apart in its lists: rename the '
                f'folder of one or, if they are one, {how_to_join(first.strip(), name)}'
            )


def _kept_images(inspection: Inspection, split: str) -> Iterator[LabelledImage]:
    """Yield the images that the copy has: readable, of one class, and each once."""
    others = [name for name in inspection.scans if name != split] if split == 'train' else []
    paths = {image.path for name in others for image in inspection.listings[name].images}
    seen = {scan.digest for name in others for scan in inspection.scans[name]}
    unsure = inspection.two_labels()
    for image, scan in zip(inspection.listings[split].images, inspection.scans[split], strict=True):
        if scan.fault or image.path in paths or scan.digest in seen or scan.digest in unsure:
            continue
        seen.add(scan.digest)
        yield image


def _write_sources(
    folder: Path, split: str, sources: tuple[Source, ...], images: list[LabelledImage]
) -> list[dict[str, str]]:
    """Write a list for every folder of images, and return how they are described."""
    described = []
    roots = list(dict.fromkeys(source.images for source in sources))
    by_root: dict[Path, list[LabelledImage]] = {root: [] for root in roots}
    for image in images:
        by_root[next(root for root in roots if Path(image.path).is_relative_to(root))].append(image)
    for number, (root, own) in enumerate(by_root.items()):
        if not own:
            continue
        name = f'{split}_{number}.txt' if number else f'{split}.txt'
        lines = [
            f'{Path(image.path).relative_to(root).as_posix()} {image.class_name.strip()}'
            for image in own
        ]
        write_list(folder / name, lines)
        described.append(dict(images=str(root), list=name, class_from='list'))
    return described


def _joined(inspection: Inspection) -> Iterator[tuple[str, Issue]]:
    """Yield what classes joins or renames, which is no fault."""
    for old, new in inspection.data.joined.items():
        message = f'{old!r} counts as {new!r}, as classes of {inspection.data.path} says'
        yield 'train', Issue('name that counts as a class', repr(old), message, False)
