"""Clean copies of a dataset by ``casvit-mm check-data --fix DIR``: what the tasks share."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from casvit_mm.datasets.description import FoldSplit, RandomSplit
from casvit_mm.datasets.issues import Issue, IssueKind, is_trainable
from casvit_mm.datasets.report import console
from casvit_mm.errors import InputError
from casvit_mm.io import replacing
from casvit_mm.task import CheckOptions

__all__ = [
    'describe_split',
    'fixed_issues',
    'is_one_set',
    'print_copy',
    'refuse_copy',
    'refuse_empty',
    'require_images',
    'write_description',
    'write_list',
]

ByHand = Callable[[str, Issue], bool]


def require_images(options: CheckOptions) -> None:
    """Refuse to write a copy without having decoded the images.

    Raises:
        InputError: If that is asked.
    """
    if options.fix is not None and not options.read_images:
        raise InputError('--fix must know which images can be read; leave --fast out')


def refuse_copy(
    folder: Path,
    names: Sequence[str],
    found: Mapping[str, Sequence[Issue]],
    by_hand: ByHand,
) -> None:
    """Refuse to write over files, or to copy what only a person can fix.

    Args:
        folder: Where the copy will be.
        names: What it will hold, beside ``changes.json`` and ``dataset.yaml``.
        found: Issues by split.
        by_hand: Whether only a person can fix an issue of a split.

    Raises:
        InputError: Naming the files, or all such issues.
    """
    names = [*names, 'changes.json', 'dataset.yaml']
    present = [name for name in names if (folder / name).exists()]
    if present:
        raise InputError(f'--fix {folder}: {", ".join(present)} exist there; name another folder')
    left = [
        f'{split}: {issue.kind}: {issue.message}'
        for split, issues in found.items()
        for issue in issues
        if issue.fatal and by_hand(split, issue)
    ]
    if left:
        raise InputError(
            'these must be fixed by hand before --fix can do the rest:\n' + '\n'.join(left)
        )


def is_one_set(split: RandomSplit | FoldSplit | None, drawn: bool) -> bool:
    """Return whether a copy is one set, to be taken apart in its turn.

    Args:
        split: How the description takes its set apart; None where it does not.
        drawn: Whether that was done, and no issue has kept it whole.
    """
    return split is not None and (isinstance(split, FoldSplit) or not drawn)


def describe_split(split: RandomSplit | FoldSplit) -> dict[str, Any]:
    """Return a split as it is written in a description."""
    return {key: value for key, value in dataclasses.asdict(split).items() if value}


def refuse_empty(split: str, path: Path) -> None:
    """Say that nothing would be left of a split.

    Raises:
        InputError: In any case.
    """
    raise InputError(f'--fix would leave {split} of {path} without an image')


def fixed_issues(
    found: Mapping[str, Sequence[Issue]], kinds: Mapping[str, IssueKind], by_hand: ByHand
) -> list[tuple[str, Issue]]:
    """Return what a copy fixes, as (split, issue); arguments as of :func:`refuse_copy`."""
    return [
        (split, issue)
        for split, issues in found.items()
        for issue in issues
        if kinds[issue.kind].fix and not by_hand(split, issue)
    ]


def write_list(path: Path, lines: Sequence[str]) -> None:
    """Write a list of images, as :func:`casvit_mm.datasets.files.read_list` reads it.

    Raises:
        InputError: If a name has a line break or blanks at its ends, or the file cannot be written.
    """
    odd = [line for line in lines if line.strip() != line or len(line.splitlines()) > 1]
    if odd:
        raise InputError(
            f'--fix writes a list of the images, one per line, in which {odd[0]!r} cannot stand: '
            'take line breaks and blanks at its ends out of the name'
        )
    with replacing(path) as file:
        file.write(''.join(f'{line}\n' for line in lines))


def write_description(
    folder: Path,
    description: Mapping[str, Any],
    changes: Sequence[tuple[str, Issue]],
    kinds: Mapping[str, IssueKind],
) -> Path:
    """Write ``changes.json`` and the ``dataset.yaml`` of a copy, and return the latter.

    Args:
        folder: Where the copy is.
        description: What ``dataset.yaml`` says.
        changes: What was fixed, as (split, issue).
        kinds: What ``--fix`` does with each kind.

    Raises:
        InputError: If one cannot be written.
    """
    plain = [
        dict(split=split, kind=d.kind, where=d.where, message=d.message, done=kinds[d.kind].fix)
        for split, d in changes
    ]
    with replacing(folder / 'changes.json') as file:
        file.write(json.dumps(plain, indent=2))
    with replacing(folder / 'dataset.yaml') as file:
        yaml.safe_dump(dict(description), file, sort_keys=False)
    return folder / 'dataset.yaml'


def print_copy(
    path: Path,
    changes: Sequence[tuple[str, Issue]],
    kinds: Mapping[str, IssueKind],
    counts: Sequence[str],
    left: Mapping[str, Sequence[Issue]],
) -> bool:
    """Print what was fixed, and return whether training would start with the copy.

    Args:
        path: The ``dataset.yaml`` of the copy.
        changes: What was fixed, as (split, issue).
        kinds: What ``--fix`` does with each kind.
        counts: A line per split: what it held before, and in the copy.
        left: Issues that the copy still has, by split.
    """
    screen = console()
    if changes:
        table = Table(title='Fixed in the copy', title_justify='left', title_style='bold')
        for column in ('split', 'found', 'times', 'done'):
            table.add_column(column, justify='right' if column == 'times' else 'left')
        for (split, kind), count in Counter((s, d.kind) for s, d in changes).items():
            table.add_row(split, kind, str(count), kinds[kind].fix)
        screen.print(table)
    for line in counts:
        screen.print(line)
    remaining = Counter(issue.kind for issues in left.values() for issue in issues)
    text = f'{"Copy" if remaining else "Clean copy"}: {path}; every change: '
    text += f'{path.parent / "changes.json"}. Use it by --data {path}'
    if remaining:
        named = ', '.join(f'{kind} ({times})' for kind, times in remaining.items())
        text += f'\nWhat it still has, for you to judge: {named}'
    screen.print(text, soft_wrap=True)
    return is_trainable(left)
