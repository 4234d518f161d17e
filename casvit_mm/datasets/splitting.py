"""Splits of a dataset: one set taken apart by chance or in folds, and images in two splits."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.datasets.description import SPLITS, FoldSplit, RandomSplit
from casvit_mm.datasets.drawing import cut_folds, draw_shares
from casvit_mm.datasets.files import SPLIT_SUFFIX
from casvit_mm.datasets.grouping import Unit, find_units
from casvit_mm.errors import InputError, first_names, plain_name
from casvit_mm.io import write_json

__all__ = ['TakenApart', 'record_of', 'shared_images', 'take_apart']

_LISTED = 20  # classes in the log, at most
_FOLDS = 'folds'


@dataclass(frozen=True)
class TakenApart:
    """What a set is taken apart into.

    Attributes:
        parts: Names of the images of each split.
        notes: What the log should say of the draw.
    """

    parts: dict[str, set[str]]
    notes: tuple[str, ...]


def record_of(path: str | Path) -> Path:
    """Return the file in which the split of a description is kept."""
    path = Path(path)
    return path / f'dataset{SPLIT_SUFFIX}' if path.is_dir() else path.with_suffix(SPLIT_SUFFIX)


def take_apart(
    path: Path,
    split: RandomSplit | FoldSplit,
    files: Mapping[str, Path],
    read_classes: Callable[[], Mapping[str, Collection[str]]],
    every_class: bool = False,
) -> TakenApart:
    """Return which images belong to each split.

    A split is drawn once and written to ``<description>.split.json``; every later command reads it
    there, so training and evaluation agree whatever happens to the set in between. Drawing reads
    all images, since those that are identical or alike stay together.

    Args:
        path: The description.
        split: How it takes the images apart.
        files: The image files, by name.
        read_classes: Finds the classes of each image, by name.
        every_class: Whether every fold needs an image of every class.

    Raises:
        InputError: If there are too few images or groups, the written split does not fit the
            description or the images any more, or it cannot be written.
    """
    record = record_of(path)
    settings = _settings(split)
    if record.is_file():
        content = _read_record(record, settings, set(files))
    else:
        content = _draw(path, split, files, read_classes(), every_class)
        try:
            write_json(record, content)
        except InputError as error:
            raise InputError(
                f'the split is kept beside its description: {error} Or copy {path} to a folder '
                'where you may write, with root: naming the data.'
            ) from error
    return TakenApart(_parts(content, split), tuple(content.get('notes', ())))


def _settings(split: RandomSplit | FoldSplit) -> dict[str, Any]:
    if isinstance(split, FoldSplit):
        settings: dict[str, Any] = dict(folds=split.folds)
    else:
        settings = dict(seed=split.seed, val=split.val, test=split.test)
    return settings if split.group is None else dict(settings, group=split.group)


def _parts(content: dict[str, Any], split: RandomSplit | FoldSplit) -> dict[str, set[str]]:
    if isinstance(split, RandomSplit):
        return {name: set(content[name]) for name in SPLITS}
    folds = list(content[_FOLDS])
    val = set(folds.pop(split.fold))
    return {'train': set().union(*folds), 'val': val}


def _draw(
    path: Path,
    split: RandomSplit | FoldSplit,
    files: Mapping[str, Path],
    classes: Mapping[str, Collection[str]],
    every_class: bool,
) -> dict[str, Any]:
    """Return the content of a record."""
    units, notes = find_units(path, split.group, files, classes)
    if isinstance(split, FoldSplit):
        found = _folds(path, split, units, every_class)
        named = {f'fold {i}' if i == 0 else str(i): part for i, part in enumerate(found)}
        drawn: dict[str, Any] = {_FOLDS: [sorted(part) for part in found]}
        notes.append('folds are blocks of neighbouring names of each class, the rarest class first')
    else:
        shares = {'train': 1 - split.val - split.test, 'val': split.val, 'test': split.test}
        named = draw_shares(units, {k: v for k, v in shares.items() if v}, split.seed)
        if not all(named.values()):
            raise InputError(
                f'{path}: {_count(units)} are too few to be split; split needs one for every '
                'part at least, and for train one of every class'
            )
        drawn = {name: sorted(named.get(name, ())) for name in SPLITS}
    notes.append(_describe(named, classes))
    return dict(split=_settings(split), **drawn, notes=[f'split: {note}' for note in notes if note])


def _count(units: list[Unit]) -> str:
    images = sum(len(unit.names) for unit in units)
    together = '' if images == len(units) else f' in {len(units)} group(s) that stay together'
    return f'{images} image(s){together}'


def _folds(path: Path, split: FoldSplit, units: list[Unit], every_class: bool) -> list[set[str]]:
    if len(units) < split.folds:
        raise InputError(
            f'{path}: {split.folds} folds need as many images, and there are {_count(units)}'
        )
    for name in sorted({name for unit in units for name in unit.classes if every_class}):
        own = [unit for unit in units if name in unit.classes]
        if len(own) < split.folds:
            raise InputError(
                f'{path}: {split.folds} folds need as many images of every class, and class '
                f'{name!r} has {_count(own)}'
            )
    return cut_folds(units, split.folds)


def _describe(parts: Mapping[str, set[str]], classes: Mapping[str, Collection[str]]) -> str:
    """Say how many images of each class are in each part, the rarest classes first."""
    counts: dict[str, list[int]] = {}
    for position, part in enumerate(parts.values()):
        for image in part:
            for name in set(classes.get(image, ())):
                counts.setdefault(name, [0] * len(parts))[position] += 1
    if not counts:
        return ''
    shown = [
        f'{plain_name(name)} {"/".join(map(str, counts[name]))}'
        for name in sorted(counts, key=lambda name: (sum(counts[name]), name))
    ]
    return f'images of each class, {"/".join(parts)}: {first_names(shown, _LISTED)}'


def _read_record(record: Path, settings: dict[str, Any], names: set[str]) -> dict[str, Any]:
    advice = f'Delete {record} to draw anew (and train anew: images may change sides).'
    try:
        content = json.loads(record.read_text())
        written = content['split']
        parts = content[_FOLDS] if _FOLDS in written else [content[name] for name in SPLITS]
        texts = [*itertools.chain.from_iterable(parts), *content.get('notes', ())]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError('its names are no text')
        if _FOLDS in written and len(parts) != written[_FOLDS]:
            raise ValueError(f'it has {len(parts)} folds')
        assigned = set().union(*parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f'{record} is not a split that we wrote: {error!r}. {advice}') from error
    if written != settings:
        raise InputError(
            f'{record} was drawn with {written}, and now {settings} is asked. {advice}'
        )
    for which, differing in (
        ('new images', names - assigned),
        ('images that are gone', assigned - names),
    ):
        if differing:
            raise InputError(
                f'{record}: {len(differing)} {which} since the split was drawn, first '
                f'{min(differing)}. {advice}'
            )
    return content


def shared_images(
    images: Mapping[str, Collection[Path]] | Mapping[str, Collection[str]],
) -> Iterator[tuple[str, str, str]]:
    """Find image files that are in two splits.

    Args:
        images: Files by split.

    Yields:
        Both splits and a message, per pair of splits that share images.
    """
    for first, second in itertools.combinations(images, 2):
        shared = sorted(map(str, set(images[first]) & set(images[second])))
        if not shared:
            continue
        advice = 'Take them out of one split'
        if (first, second) == ('val', 'test'):
            advice += '; a test split that is left out is val'
        else:
            advice += ', or let us split one set: data: and split: {val: 0.2} in the description'
        message = (
            f'{len(shared)} image(s) are in {first} and in {second}, first {shared[0]}: the '
            f'metrics would tell what was memorised. {advice}.'
        )
        yield first, second, message
