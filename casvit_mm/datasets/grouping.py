"""Images of one set that a split keeps on one side: identical, alike, or of one group."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from casvit_mm.datasets.alike import alike_pairs
from casvit_mm.datasets.image_scan import scan_images
from casvit_mm.errors import InputError, first_names

__all__ = ['FOLDER', 'Unit', 'find_units']

FOLDER = 'folder'  # as ``group:``, the images of one folder
_NAMED = 3  # names in a message


@dataclass(frozen=True)
class Unit:
    """Images that stay together.

    Attributes:
        names: Their names, sorted.
        classes: What is in any of them.
    """

    names: tuple[str, ...]
    classes: frozenset[str]


def find_units(
    path: Path,
    group: str | None,
    files: Mapping[str, Path],
    classes: Mapping[str, Collection[str]],
) -> tuple[list[Unit], list[str]]:
    """Find what a split must not part.

    Args:
        path: The description, for messages.
        group: :data:`FOLDER`, or a regular expression with one group that is searched in the names;
            None for neither.
        files: The image files, by name.
        classes: The classes of each image, by name.

    Returns:
        The units, sorted by their first name, and what the log should say of them.

    Raises:
        InputError: If an image has no group.
    """
    names = sorted(files)
    scans = scan_images([files[name] for name in names], 'the set that is split')
    union = _Union(names)
    _join(union, names, [scan.digest or None for scan in scans])
    for i, j in alike_pairs(scans).tolist():
        union.join(names[i], names[j])
    alike = [members for members in union.sets() if len(members) > 1]
    count = sum(map(len, alike))
    notes = [f'{count} images in {len(alike)} groups are identical or alike'] if alike else []
    if group is not None:
        keys = _keys(path, group, names)
        _join(union, names, keys)
        notes.append(f'group: {group} makes {len(set(keys))} groups')
    units = []
    for members in union.sets():
        found = frozenset(name for member in members for name in classes.get(member, ()))
        units.append(Unit(tuple(members), found))
    return units, notes


def _keys(path: Path, group: str, names: list[str]) -> list[str]:
    if group == FOLDER:
        return [str(PurePosixPath(name).parent) for name in names]
    found = [re.search(group, name) for name in names]
    keys = [match and match.group(1) for match in found]
    without = [name for name, key in zip(names, keys, strict=True) if key is None]
    if without:
        raise InputError(
            f'{path}, split: group: {group!r} matches not all names: {len(without)} of '
            f'{len(names)} images have no group, first {first_names(without, _NAMED)}. It is '
            'searched in the path from root:, and what its brackets match names the group.'
        )
    return [str(key) for key in keys]


def _join(union: _Union, names: list[str], keys: list) -> None:
    """Join the names that share a key other than None."""
    firsts: dict = {}
    for name, key in zip(names, keys, strict=True):
        if key is not None:
            union.join(firsts.setdefault(key, name), name)


class _Union:
    """Disjoint sets of names, that of each found through a chain of names to its smallest."""

    def __init__(self, names: list[str]) -> None:
        self._above = {name: name for name in names}

    def _top(self, name: str) -> str:
        while (above := self._above[name]) != name:
            self._above[name] = self._above[above]
            name = above
        return name

    def join(self, first: str, second: str) -> None:
        low, high = sorted((self._top(first), self._top(second)))
        self._above[high] = low

    def sets(self) -> list[list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._above:
            found.setdefault(self._top(name), []).append(name)
        return list(found.values())
