"""The report on a data set of any task: verdict and tables for a person, JSON for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from casvit_mm.datasets.issues import Issue, IssueKind
from casvit_mm.io import write_json

__all__ = [
    'console',
    'describe_spread',
    'issues_in_short',
    'print_issues',
    'print_verdict',
    'split_table',
    'spread',
    'verdict_on',
    'write_report',
]

_FIRST_PLACES = 3


def console() -> Console:
    """Return where reports go: the terminal as it is, or 120 columns of a file or pipe."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=120)


def verdict_on(found: dict[str, list[Issue]]) -> str:
    """Say in one line whether training would start in spite of issues, given by split."""
    issues = [issue for of_split in found.values() for issue in of_split]
    if fatal := sum(issue.fatal for issue in issues):
        return (
            f'NO: training would refuse this data; {fatal} '
            f'{"place stops" if fatal == 1 else "places stop"} it.'
        )
    return f'YES: training can start; {issues_in_short(issues)}'


def print_verdict(found: dict[str, list[Issue]], kinds: dict[str, IssueKind]) -> Console:
    """Print whether training would start and what was found, and return where that went.

    Args:
        found: Defects by split.
        kinds: What each kind means, in the order of the table.
    """
    screen = console()
    fatal = any(issue.fatal for issues in found.values() for issue in issues)
    style = f'bold {"red" if fatal else "green"}'
    screen.print(verdict_on(found), style=style, soft_wrap=True, markup=False)
    print_issues(screen, found, kinds, lambda _, issue: issue.where)
    return screen


def issues_in_short(issues: list[Issue]) -> str:
    """Return the end of a verdict on data that can be trained on."""
    if not issues:
        return 'no issue was found.'
    kinds = len({d.kind for d in issues})
    return f'look at {kinds} {"kind" if kinds == 1 else "kinds"} of findings below.'


def write_report(
    out: Path,
    data: str | Path,
    images_read: bool,
    figures: dict[str, dict[str, Any]],
    found: dict[str, list[Issue]],
    pictures: list[Path | None],
) -> None:
    """Write ``report.json``, and print where it and the pictures are.

    Args:
        out: Folder to write to.
        data: The description that was checked.
        images_read: Whether image files were read.
        figures: Figures by split.
        found: Defects by split.
        pictures: Files that were drawn; None for those that could not be.
    """
    report = dict(
        data=str(data),
        verdict=verdict_on(found),
        trainable=not any(d.fatal for issues in found.values() for d in issues),
        images_read=images_read,
        splits=figures,
        defects=[
            dict(split=name, kind=d.kind, where=d.where, message=d.message, fatal=d.fatal)
            for name, issues in found.items()
            for d in issues
        ],
        pictures=[path.name for path in pictures if path is not None],
    )
    write_json(out / 'report.json', report)
    text = f'Pictures and report.json (every place of every finding): {out}'
    console().print(text, soft_wrap=True)


def split_table(
    figures: dict[str, dict[str, Any]], rows: dict[str, Callable[[dict[str, Any]], str]]
) -> Table:
    """Return a table with a column for each split.

    Args:
        figures: Figures by split.
        rows: By title, what a cell says of the figures of its split.
    """
    table = Table(title='Splits', title_justify='left', title_style='bold')
    table.add_column('')
    for name in figures:
        table.add_column(name, justify='right')
    for title, cell in rows.items():
        table.add_row(title, *(cell(split) for split in figures.values()))
    return table


def describe_spread(key: str) -> Callable[[dict[str, Any]], str]:
    """Return a cell of :func:`split_table` for what :func:`spread` has put under ``key``."""
    return lambda figures: ', '.join(map(str, figures[key])) or '-'


def spread(values: np.ndarray) -> list[int]:
    """Return least, median and most of ``(N,)`` values; nothing of none."""
    if not len(values):
        return []
    return np.percentile(values, (0, 50, 100), method='nearest').astype(int).tolist()


def print_issues(
    screen: Console,
    issues: dict[str, list[Issue]],
    kinds: dict[str, IssueKind],
    place: Callable[[str, Issue], str],
) -> None:
    """Print a table of what was found, what stops training first, and messages for the latter.

    Args:
        screen: Where to print.
        issues: What was found, by split.
        kinds: What each kind means, in the order of the table.
        place: Names the place of an issue of a split.
    """
    by_kind: dict[str, list[tuple[str, Issue]]] = {kind: [] for kind in kinds}
    for split, of_split in issues.items():
        for issue in of_split:
            by_kind[issue.kind].append((split, issue))
    found = {kind: places for kind, places in by_kind.items() if places}
    if not found:
        return
    table = Table(title='Findings', title_justify='left', title_style='bold', show_lines=True)
    mends = ', and --fix against it' if any(kind.fix for kind in kinds.values()) else ''
    for column in ('found', 'times', 'first places', f'what it does{mends}'):
        table.add_column(column, justify='right' if column == 'times' else 'left', overflow='fold')
    for kind, places in sorted(found.items(), key=lambda item: not _stops(item[1])):
        per_split = Counter(split for split, _ in places)
        shown = [
            f'{split} ({count}): '
            + ', '.join(
                place(split, d) for d in [d for s, d in places if s == split][:_FIRST_PLACES]
            )
            + (', ...' if count > _FIRST_PLACES else '')
            for split, count in per_split.items()
        ]
        row = (kind, str(len(places)), '\n'.join(shown), _meaning(kinds[kind], _stops(places)))
        table.add_row(*(escape(cell) for cell in row), style='red' if _stops(places) else None)
    screen.print(table)
    for kind, places in found.items():
        if _stops(places):
            first = next(d for _, d in places if d.fatal)
            screen.print(f'{kind}: {first.message}', style='red', soft_wrap=True, markup=False)


def _meaning(kind: IssueKind, fatal: bool) -> str:
    effect = kind.effect
    if fatal:
        effect = 'stops training'
    elif effect == 'stops training':
        effect = 'stops training of masks'
    if kind.fix:
        return f'{effect}\n--fix {kind.fix}'
    return f'{effect}\nmend by hand' if fatal else effect


def _stops(places: list[tuple[str, Issue]]) -> bool:
    return any(issue.fatal for _, issue in places)
