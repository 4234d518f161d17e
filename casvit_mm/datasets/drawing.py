"""How a set is taken apart: by shares, drawn with the classes in balance, or in folds."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
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
        found: dict[str, list[int]] = {}
        for i, unit in enumerate(self.units):
            for name in unit.classes or (_NO_CLASS,):
                found.setdefault(name, []).append(i)
        # The rarest class first.
        self.by_class = dict(sorted(found.items(), key=lambda item: (len(item[1]), item[0])))
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
    """Cut units, in their order, into blocks of about as many images each.

    Blocks of neighbours: pictures taken one after the other are alike, and should not lie on both
    sides.

    Args:
        units: What stays together, at least as many as folds.
        folds: Number of blocks.

    Returns:
        The names of each block; none is empty.
    """
    by_images = _blocks([len(unit.names) for unit in units], folds)
    # Where a group is larger than a block, as many groups each.
    blocks = by_images if set(by_images) == {*range(folds)} else _blocks([1] * len(units), folds)
    parts: list[set[str]] = [set() for _ in range(folds)]
    for block, unit in zip(blocks, units, strict=True):
        parts[block].update(unit.names)
    return parts


def _blocks(sizes: Iterable[int], folds: int) -> list[int]:
    """Return the block that the middle of each unit lies in."""
    sizes = list(sizes)
    total, start, blocks = sum(sizes), 0, []
    for size in sizes:
        middle = 2 * start + size + 1
        blocks.append(-(-middle * folds // (2 * total)) - 1)
        start += size
    return blocks
