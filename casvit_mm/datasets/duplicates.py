"""Images that occur twice: the same file, or across splits a picture of the same scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from casvit_mm.datasets.alike import alike_pairs
from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.issues import Issue

__all__ = ['duplicate_issues']


def duplicate_issues(
    scans: Mapping[str, Mapping[int, ImageScan]], name_of: Callable[[str, int], str]
) -> dict[str, list[Issue]]:
    """Find images that occur twice, byte by byte, and across splits also those that look alike.

    What looks alike, :func:`casvit_mm.datasets.alike.alike_pairs` says.

    Args:
        scans: What the files hold, by split and position in its list of images.
        name_of: Returns what messages call one of them, likewise.

    Returns:
        Issues by split; a pair across splits stands under the one that ``--fix`` takes it from,
        which is train where train is concerned.
    """
    issues: dict[str, list[Issue]] = {split: [] for split in scans}
    if not any(scan.digest for found in scans.values() for scan in found.values()):
        return issues  # only headers were read
    for split, issue in _same_files(scans, name_of):
        issues[split].append(issue)
    places = [(split, i) for split, found in scans.items() for i in found]
    for at, other in alike_pairs([scans[split][i] for split, i in places]).tolist():
        (split, i), (second_split, j) = places[at], places[other]
        if split == second_split:
            continue
        first, second = name_of(split, i), name_of(second_split, j)
        message = (
            f'{first} of {split} looks like {second} of {second_split}; keep frames of one scene '
            'in one split'
        )
        where = f'{first} ~ {second}'
        alike = Issue('near-duplicate across splits', where, message, False, ('images', i))
        issues[split].append(alike)
    return issues


def _same_files(
    scans: Mapping[str, Mapping[int, ImageScan]], name_of: Callable[[str, int], str]
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
                name, first = name_of(split, i), name_of(split, firsts[split])
                where, message = f'{name} = {first}', f'{name} is the same file as {first}'
                yield split, Issue('image twice in a split', where, message, False, ('images', i))
            firsts.setdefault(split, i)
        kept = list(firsts)[-1]
        for split, i in places:
            if split != kept:
                name, other = name_of(split, i), name_of(kept, firsts[kept])
                message = f'{name} of {split} is the same file as {other} of {kept}'
                where = f'{name} = {other}'
                yield split, Issue('image in two splits', where, message, False, ('images', i))
