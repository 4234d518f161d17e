"""How a set is taken apart: by shares, drawn with the classes in balance, or in folds."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from casvit_mm.datasets.grouping import Unit

__all__ = ['cut_folds', 'draw_shares']

_NO_CLASS = ''  # stands for the class of images in which there is none


def draw_shares(units: Sequence[Unit], shares: dict[str, float], seed: int) -> dict[str, set[str]]:
    """Draw which images belong to each part, with every class in balance where units allow.

    Every class has a unit in ``train``; then, where the share has room, in each other part. The
    others follow class by class, the rarest first, each to the part that lacks most.

    Args:
        units: What stays together.
        shares: By part, ``train`` first; their sum is 1.
        seed: Seed of the draw.

    Returns:
        Names by part; a part is empty where units do not suffice.
    """
    shuffled = list(units)
    random.Random(seed).shuffle(shuffled)
    draw = _Draw(shuffled, shares)
    for members in draw.by_class.values():
        for part in shares:
            draw.cover(members, part)
    draw.fill()
    parts: dict[str, set[str]] = {part: set() for part in shares}
    for i, part in draw.part_of.items():
        parts[part].update(shuffled[i].names)
    return parts


@dataclass
class _Draw:
    """The state of a draw: units by number, and the parts that some of them have."""

    units: list[Unit]
    shares: dict[str, float]
    part_of: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_class = _by_class(self.units)
        total = sum(map(self._size, range(len(self.units))))
        self._room = {part: max(1, round(share * total)) for part, share in self.shares.items()}

    def _size(self, i: int) -> int:
        return len(self.units[i].names)

    def cover(self, members: list[int], part: str) -> None:
        """Give a part one unit of a class, if it has none, has room, and train keeps one."""
        if any(self.part_of.get(i) == part for i in members):
            return
        free = [i for i in members if i not in self.part_of]
        if part == 'train':
            chosen = max(free, key=self._size, default=None)
        else:
            free = [i for i in free if not self._last_for_train(i)]
            chosen = min(free, key=self._size, default=None)
            used = sum(self._size(i) for i, other in self.part_of.items() if other == part)
            if chosen is None or (used and used + self._size(chosen) > self._room[part]):
                return
        if chosen is not None:
            self.part_of[chosen] = part

    def _last_for_train(self, i: int) -> bool:
        """Return whether train could have no other unit of a class that unit ``i`` has."""
        return any(
            all(j == i or self.part_of.get(j, 'train') != 'train' for j in self.by_class[name])
            for name in self.units[i].classes or (_NO_CLASS,)
        )

    def fill(self) -> None:
        """Give every other unit to the part that lacks most, class by class."""
        parts = list(self.shares)
        passed: set[int] = set()
        sizes = dict.fromkeys(parts, 0)
        total = 0
        for members in self.by_class.values():
            own = [i for i in members if i not in passed]
            passed.update(own)
            # Single images last: they even out what groups have left uneven.
            own.sort(key=lambda i: (i not in self.part_of, self._size(i) == 1))
            for i in own:
                total += self._size(i)
                if i not in self.part_of:
                    lacking = {part: self.shares[part] * total - sizes[part] for part in parts}
                    self.part_of[i] = max(parts, key=lacking.__getitem__)
                sizes[self.part_of[i]] += self._size(i)


def cut_folds(units: Sequence[Unit], folds: int) -> list[set[str]]:
    """Cut units into folds of about as many images each, with every class in balance.

    Class by class, the rarest first, the units that have it and no fold yet are cut, in their
    order, into blocks of about as many images; what is over goes to the smallest folds. Blocks of
    neighbours: pictures taken one after the other are alike, and should not lie on both sides.

    Args:
        units: What stays together, in the order of their names, at least as many as folds.
        folds: Number of folds.

    Returns:
        The names of each fold; none is empty.
    """
    fold_of: dict[int, int] = {}
    held = [0] * folds
    for members in _by_class(units).values():
        own = [i for i in members if i not in fold_of]
        for i, fold in zip(own, _blocks([len(units[i].names) for i in own], held), strict=True):
            fold_of[i] = fold
            held[fold] += len(units[i].names)
    if not all(held):  # by groups that are larger than a fold
        fold_of = dict(enumerate(_blocks([1] * len(units), [0] * folds)))
    parts: list[set[str]] = [set() for _ in range(folds)]
    for i, fold in fold_of.items():
        parts[fold].update(units[i].names)
    return parts


def _by_class(units: Sequence[Unit]) -> dict[str, list[int]]:
    """Return positions of units by a class that they have, the rarest class first."""
    found: dict[str, list[int]] = {}
    for i, unit in enumerate(units):
        for name in unit.classes or (_NO_CLASS,):
            found.setdefault(name, []).append(i)
    return dict(sorted(found.items(), key=lambda item: (len(item[1]), item[0])))


def _blocks(sizes: Sequence[int], held: Sequence[int]) -> list[int]:
    """Return the fold of each unit, given the images of each fold: that in which its middle lies.

    Where there are units enough and a fold would get none of them, units count and not images.
    """
    folds = len(held)
    share, over = divmod(sum(sizes), folds)
    smallest = sorted(range(folds), key=lambda fold: (held[fold], -fold))
    ends = list(itertools.accumulate(share + (fold in smallest[:over]) for fold in range(folds)))
    starts = itertools.accumulate(sizes, initial=0)
    middles = (start + (size - 1) / 2 for start, size in zip(starts, sizes, strict=False))
    blocks = [bisect.bisect(ends, middle) for middle in middles]
    if len(sizes) >= folds and set(blocks) != {*range(folds)}:
        return _blocks([1] * len(sizes), held)
    return blocks
