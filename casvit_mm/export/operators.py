"""Which operators of an exported file a delegate runs, and in how many parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from casvit_mm.io import write_json

__all__ = ['OPERATORS', 'split_by_delegate', 'write_operators']

OPERATORS = '.operators.json'  # ending of the list beside a file, in the place of its own


def write_operators(
    path: Path, delegate: str, parts: int, delegated: Mapping[str, int], left: Mapping[str, int]
) -> None:
    """Write the operators of a file beside it, the most frequent first.

    Args:
        path: The exported file.
        delegate: What runs the parts.
        parts: Into how many the delegate's share of the graph falls; between two of them the engine
            runs operators itself, and maps go from one to the other.
        delegated: Number of the operators of each kind in the parts.
        left: Those that the engine runs itself.
    """
    counts = (dict(Counter(each).most_common()) for each in (delegated, left))
    content = dict(zip(('delegated', 'left'), counts, strict=True))
    write_json(path.with_suffix(OPERATORS), dict(delegate=delegate, parts=parts, **content))


def split_by_delegate(
    operators: Sequence[Mapping[str, Any]],
) -> tuple[int, Counter[str], Counter[str]]:
    """Return the number of a delegate's parts, and the operators within and outside of them.

    Args:
        operators: All of a TensorFlow Lite graph, as its interpreter lists them once a delegate is
            applied: the operators that were there and, behind them, one ``DELEGATE`` for each part.
            Each has an ``op_name`` and the numbers of its ``inputs`` and ``outputs``.
    """
    makers = {
        int(tensor): number
        for number, operator in enumerate(operators)
        if operator['op_name'] != 'DELEGATE'
        for tensor in operator['outputs']
    }
    parts = [operator for operator in operators if operator['op_name'] == 'DELEGATE']
    within: set[int] = set()
    for part in parts:
        given = set(map(int, part['inputs']))
        tensors = [int(tensor) for tensor in part['outputs']]
        while tensors:
            tensor = tensors.pop()
            number = makers.get(tensor)
            if tensor in given or number is None or number in within:
                continue
            within.add(number)
            tensors += [int(one) for one in operators[number]['inputs']]
    inside, outside = Counter[str](), Counter[str]()
    for number, operator in enumerate(operators):
        if operator['op_name'] != 'DELEGATE':
            (inside if number in within else outside)[operator['op_name']] += 1
    return len(parts), inside, outside
