"""Images that occur twice: the same file, or across splits a picture of the same scene."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.issues import Issue

__all__ = ['duplicate_issues']

_DISTANCE = 16  # bits of 256: hashes of 64 bits confuse images that have much empty ground
_CORRELATION = 0.98


def duplicate_issues(
    scans: Mapping[str, Mapping[int, ImageScan]], names: Mapping[str, Mapping[int, str]]
) -> dict[str, list[Issue]]:
    """Find images that occur twice, byte by byte, and across splits also those that look alike.

    Two images look alike if their 256-bit difference hashes differ in at most 16 bits and their
    16 x 17 thumbnails correlate by 0.98 or more.

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
    for split, other in itertools.combinations(scans, 2):
        for i, j in _alike(scans[split], scans[other]):
            first, second = names[split][i], names[other][j]
            message = (
                f'{first} of {split} looks like {second} of {other}; keep frames of one scene in '
                'one split'
            )
            where, at = f'{first} ~ {second}', ('images', i)
            alike = Issue('near-duplicate across splits', where, message, False, at)
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
                message = f'{name} is the same file as {first}'
                yield split, Issue('image twice in a split', name, message, False, ('images', i))
            firsts.setdefault(split, i)
        kept = list(firsts)[-1]
        for split, i in places:
            if split != kept:
                name, other = names[split][i], names[kept][firsts[kept]]
                message = f'{name} of {split} is the same file as {other} of {kept}'
                yield split, Issue('image in two splits', name, message, False, ('images', i))


def _alike(
    first: Mapping[int, ImageScan], second: Mapping[int, ImageScan]
) -> Iterator[tuple[int, int]]:
    """Yield pairs that look alike but are different files."""
    rows = [(i, s) for i, s in first.items() if s.thumbnail is not None]
    columns = [(i, s) for i, s in second.items() if s.thumbnail is not None]
    if not rows or not columns:
        return
    left, right = (
        np.stack([s.thumbnail for _, s in part if s.thumbnail is not None]).astype(np.float32)
        for part in (rows, columns)
    )
    bits_right, flat_right = _signs(right), right.reshape(len(right), -1)
    area = flat_right.shape[1]
    for start in range(0, len(left), 1024):
        block = left[start : start + 1024]
        # The product of +1/-1 vectors counts agreeing minus differing bits.
        agree = _signs(block) @ bits_right.T
        close = agree >= bits_right.shape[1] - 2 * _DISTANCE
        for i, j in np.argwhere(close):
            alike = block[i].ravel() @ flat_right[j] / area >= _CORRELATION
            if alike and rows[start + i][1].digest != columns[j][1].digest:
                yield rows[start + i][0], columns[j][0]


def _signs(thumbnails: np.ndarray) -> np.ndarray:
    """Return difference hashes as +1 and -1, ``(N, 256)``."""
    rising = np.diff(thumbnails, axis=2) > 0
    return np.where(rising, 1, -1).reshape(len(thumbnails), -1).astype(np.float32)
