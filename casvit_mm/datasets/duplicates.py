"""Images that occur twice: the same file, or across splits a picture of the same scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from casvit_mm.datasets.alike import alike_pairs
from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.issues import Issue

__all__ = ['duplicate_issues']


def duplicate_issues(
    scans: Mapping[str, Mapping[int, ImageScan]], names: Mapping[str, Mapping[int, str]]
) -> dict[str, list[Issue]]:
    """Find images that occur twice, byte by byte, and across splits also those that look alike.

    What looks alike, :func:`casvit_mm.datasets.alike.alike_pairs` says.

    Args:
        scans: What the files hold, by split and position in its list of images.
        names: What messages call them, likewise.

    Returns:
        Issues by split; a pair across splits stands under the one that ``--fix`` takes it from,
        which is train where train is concerned.
    """
    issues: dict[str, list[Issue]] = {split: [] for split in scans}
    for split, issue in _same_files(scans, names):
        issues[split].append(issue)
    places = [(split, i) for split, found in scans.items() for i in found]
    for at, other in alike_pairs([scans[split][i] for split, i in places]).tolist():
        (split, i), (second_split, j) = places[at], places[other]
        if split == second_split:
            continue
        first, second = names[split][i], names[second_split][j]
        message = (
            f'{first} of {split} looks like {second} of {second_split}; keep frames of one scene '
            'in one split'
        )
        where = f'{first} ~ {second}'
        alike = Issue('near-duplicate across splits', where, message, False, ('images', i))
        issues[split].append(alike)
    return issues


def _same_files(
    scans: Mapping[str, Mapping[int, ImageScan]], names: Mapping[str, Mapping[int, str]]
) -> Iterator[tuple[str, Issue]]:
    """Yield split and issue of every image that is the same file as another one."""
    owners: dict[bytes, list[tuple[str, int]]] = {}
    for split, found in scans.items():
        for i, scan in found.items():
            if scan.digest:
                owners.setdefault(scan.digest, []).append((split, i))
    for places in owners.values():
        firsts: dict[str, int] = {}
        for split, i in places:
            if split in firsts:
                name, first = names[split][i], names[split][firsts[split]]
                where, message = f'{name} = {first}', f'{name} is the same file as {first}'
                yield split, Issue('image twice in a split', where, message, False, ('images', i))
            firsts.setdefault(split, i)
        kept = list(firsts)[-1]
        for split, i in places:
            if split != kept:
                name, other = names[split][i], names[kept][firsts[kept]]
                message = f'{name} of {split} is the same file as {other} of {kept}'
                where = f'{name} = {other}'
                yield split, Issue('image in two splits', where, message, False, ('images', i))
