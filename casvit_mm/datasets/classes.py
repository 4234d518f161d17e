"""What can be wrong with the classes of any task: they are rare, or two names are nearly one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import yaml

from casvit_mm.datasets.files import plain_name
from casvit_mm.datasets.issues import Issue, IssueKind

__all__ = ['CLASS_KINDS', 'alike_classes', 'how_to_join', 'rare_classes']

_FEW = 10
_RARE = 100  # times as many of the most frequent class

CLASS_KINDS = {
    'rare class': IssueKind('hardly learnt'),
    'class names alike': IssueKind('one class split in two? join them under classes:'),
}


def rare_classes(counts: Mapping[str, int], what: str) -> Iterator[Issue]:
    """Find classes of train with few examples; those without any are an issue of another kind.

    Args:
        counts: How many examples each class has.
        what: What an example is, in the plural.
    """
    most = max(counts.values(), default=0)
    for name, count in counts.items():
        if 0 < count < max(_FEW, most / _RARE):
            message = f'class {name!r} has {count} {what} in train; the most frequent has {most}'
            yield Issue('rare class', repr(name), message, False)


def alike_classes(classes: Sequence[str], join: str = '') -> Iterator[Issue]:
    """Find names that differ from an earlier one in case or blanks only.

    Args:
        classes: Names of the classes; of equal ones nothing is said.
        join: How two become one; empty where names can be joined under ``classes``.
    """
    firsts: dict[str, str] = {}
    for name in classes:
        first = firsts.setdefault(plain_name(name), name)
        if first != name:
            message = (
                f'classes {first!r} and {name!r} differ in case or blanks only. If they are one, '
                f'{join or how_to_join(first, name)}'
            )
            yield Issue('class names alike', f'{first!r}, {name!r}', message, False)


def how_to_join(name: str, other: str) -> str:
    """Say how two names become one class."""
    pair = yaml.safe_dump({name: [name, other]}, default_flow_style=True, width=float('inf'))
    return f'join them under classes:, like {pair.strip()[:-1]}, ...}}'
