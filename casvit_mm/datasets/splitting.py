"""Splits of a dataset: one set taken apart by chance or in folds, and images in two splits."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from casvit_mm.datasets.description import SPLITS, FoldSplit, RandomSplit
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['shared_images', 'split_names']


def split_names(
    path: Path, split: RandomSplit | FoldSplit, names: list[str], kept: Collection[str] = ()
) -> dict[str, set[str]]:
    """Return which of ``names`` (images) belong to each split.

    A random split is drawn once and written to ``<description>.split.json``; every later command
    reads it there, so training and evaluation agree whatever happens to the set in between.

    Args:
        path: The description.
        split: How it takes the images apart.
        names: The images.
        kept: Those of them that a random split leaves in train.

    Raises:
        InputError: If there are too few images, the written split does not fit the description or
            the images any more, or it cannot be written.
    """
    names = sorted(names)
    if isinstance(split, FoldSplit):
        return _fold(path, split, names)
    return _drawn(path, split, names, kept)


def _fold(path: Path, split: FoldSplit, names: list[str]) -> dict[str, set[str]]:
    if len(names) < split.folds:
        raise InputError(
            f'{path}: {split.folds} folds need as many images, and there are {len(names)}'
        )
    # Blocks of neighbours: pictures taken one after the other are alike, and should not lie on
    # both sides.
    start, end = (len(names) * i // split.folds for i in (split.fold, split.fold + 1))
    return {'train': set(names[:start] + names[end:]), 'val': set(names[start:end])}


def _drawn(
    path: Path, split: RandomSplit, names: list[str], kept: Collection[str]
) -> dict[str, set[str]]:
    record = path.with_suffix('.split.json')
    settings = dict(seed=split.seed, val=split.val, test=split.test)
    if record.is_file():
        return _read_record(record, settings, names)
    drawn = [name for name in names if name not in kept]
    random.Random(split.seed).shuffle(drawn)
    counts = {
        name: max(1, round(share * len(names))) if share else 0
        for name, share in (('val', split.val), ('test', split.test))
    }
    if sum(counts.values()) > len(names) - max(1, len(kept)):
        raise InputError(
            f'{path}: {len(names)} image(s) are too few to be split; split needs one for '
            f'every part at least{", and for train one of every class" if kept else ""}'
        )
    parts: dict[str, set[str]] = {}
    for name, count in counts.items():
        parts[name], drawn = set(drawn[:count]), drawn[count:]
    parts['train'] = {*drawn, *kept}
    try:
        write_json(record, dict(split=settings, **{k: sorted(v) for k, v in parts.items()}))
    except InputError as error:
        raise InputError(
            f'the split is kept beside its description: {error} Or copy {path} to a folder '
            'where you may write, with root: naming the data.'
        ) from error
    return parts


def _read_record(record: Path, settings: dict, names: list[str]) -> dict[str, set[str]]:
    advice = f'Delete {record} to draw anew (and train anew: images may change sides).'
    try:
        content = json.loads(record.read_text())
        parts = {name: set(content[name]) for name in SPLITS}
        written = content['split']
        if not all(isinstance(name, str) for part in parts.values() for name in part):
            raise ValueError('its names are no text')
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{record} is not a split that we wrote: {error!r}. {advice}') from error
    if written != settings:
        raise InputError(
            f'{record} was drawn with {written}, and now {settings} is asked. {advice}'
        )
    assigned = set().union(*parts.values())
    for which, differing in (
        ('new images', set(names) - assigned),
        ('images that are gone', assigned - set(names)),
    ):
        if differing:
            raise InputError(
                f'{record}: {len(differing)} {which} since the split was drawn, first '
                f'{min(differing)}. {advice}'
            )
    return parts


def shared_images(images: Mapping[str, Collection[Path]]) -> Iterator[tuple[str, str, str]]:
    """Find image files that are in two splits.

    Args:
        images: Files by split.

    Yields:
        Both splits and a message, per pair of splits that share images.
    """
    for first, second in itertools.combinations(images, 2):
        shared = sorted(set(images[first]) & set(images[second]))
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
