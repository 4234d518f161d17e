"""The report on a dataset of any task: verdict and tables for a person, JSON for a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from casvit_mm.datasets.issues import STOPS, Issue, IssueKind, is_trainable
from casvit_mm.errors import first_names, plain_name
from casvit_mm.io import write_json
from casvit_mm.plotting.tables import LiteralConsole

__all__ = [
    'IMAGES_UNREAD',
    'class_table',
    'console',
    'describe_spread',
    'print_verdict',
    'split_table',
    'spread',
    'verdict_on',
    'write_report',
]

IMAGES_UNREAD = ', if its images are sound, which --fast did not read'  # follows on a verdict
_FIRST_PLACES = 3


def console() -> LiteralConsole:
    """Return where reports go: the terminal as it is, or 120 columns of a file or pipe."""
    screen = LiteralConsole()
    return screen if screen.is_terminal else LiteralConsole(width=120)


def verdict_on(found: Mapping[str, Sequence[Issue]], with_what: str = '') -> str:
    """Say in one line whether training would start.

    Args:
        found: Issues by split.
        with_what: Follows on "training can start", e.g. ``', with boxes and masks'``.
    """
    issues = [issue for of_split in found.values() for issue in of_split]
    if fatal := sum(issue.fatal for issue in issues):
        places = 'place stops' if fatal == 1 else 'places stop'
        return f'NO: training would refuse this data; {fatal} {places} it.'
    kinds = len({issue.kind for issue in issues})
    notes = f'look at {kinds} {"kind" if kinds == 1 else "kinds"} of issues below.'
    return f'YES: training can start{with_what}; {notes if kinds else "no issue was found."}'


def print_verdict(
    found: Mapping[str, Sequence[Issue]],
    kinds: Mapping[str, IssueKind],
    place: Callable[[str, Issue], str] = lambda split, issue: issue.where,
    with_what: str = '',
) -> LiteralConsole:
    """Print whether training would start and what was found, and return where that went.

    Args:
        found: Issues by split.
        kinds: What each kind means, in the order of the table.
        place: Names the place of an issue of a split.
        with_what: As in :func:`verdict_on`.
    """
    screen = console()
    style = f'bold {"green" if is_trainable(found) else "red"}'
    screen.print(verdict_on(found, with_what), style=style, soft_wrap=True)
    _print_issues(screen, found, kinds, place)
    return screen


def write_report(
    out: Path,
    data: str | Path,
    images_read: bool,
    splits: dict[str, dict[str, Any]],
    found: Mapping[str, Sequence[Issue]],
    pictures: Sequence[Path | None],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write ``report.json``, and print where it and the pictures are.

    Args:
        out: Folder to write to.
        data: The description that was checked.
        images_read: Whether image files were read.
        splits: Statistics by split.
        found: Issues by split.
        pictures: Files that were drawn; None for those that could not be.
        more: Fields that one task alone has, or has in another form.
    """
    report = dict(
        data=str(data),
        verdict=verdict_on(found),
        trainable=is_trainable(found),
        images_read=images_read,
        splits=splits,
        defects=[
            dict(split=name, kind=d.kind, where=d.where, message=d.message, fatal=d.fatal)
            for name, issues in found.items()
            for d in issues
        ],
        pictures=[path.name for path in pictures if path is not None],
    )
    write_json(out / 'report.json', {**report, **(more or {})})
    text = f'Pictures and report.json (every place of every issue): {out}'
    console().print(text, soft_wrap=True)


def split_table(
    splits: dict[str, dict[str, Any]], rows: dict[str, Callable[[dict[str, Any]], str]]
) -> Table:
    """Return a table with a column for each split.

    Args:
        splits: Statistics by split.
        rows: By title, what a cell says of the statistics of its split.
    """
    table = Table(title='Splits', title_justify='left', title_style='bold')
    table.add_column('')
    for name in splits:
        table.add_column(name, justify='right')
    for title, cell in rows.items():
        table.add_row(title, *(cell(split) for split in splits.values()))
    return table


def describe_spread(key: str) -> Callable[[dict[str, Any]], str]:
    """Return a cell of :func:`split_table` for what :func:`spread` has put under ``key``."""
    return lambda split: ', '.join(map(str, split[key])) or '-'


def spread(values: np.ndarray) -> list[int]:
    """Return minimum, median and maximum of ``(N,)`` values; nothing of none."""
    if not len(values):
        return []
    return np.percentile(values, (0, 50, 100), method='nearest').astype(int).tolist()


def class_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    counts: Sequence[int],
    shown: int = 40,
) -> Table:
    """Return a table with one row per class; of very many, the most and the least frequent.

    Args:
        title: What the table shows.
        columns: Titles of the columns, ``'class'`` among them.
        rows: Cells of each class, one per column.
        counts: How often each class occurs in the first split.
        shown: Rows that the table may have.
    """
    table = Table(title=title, title_justify='left', title_style='bold')
    for column in columns:
        name = column == 'class'
        table.add_column(
            column, justify='left' if name else 'right', overflow='fold' if name else 'ellipsis'
        )
    order: list[int | None] = [*range(len(rows))]
    if len(rows) > shown:
        frequent = sorted(range(len(rows)), key=lambda i: -counts[i])
        order = [*frequent[: shown // 2], None, *frequent[-(shown // 2) :]]
    for i in order:
        if i is None:
            more = f'... {len(rows) - shown} more in report.json ...'
            table.add_row(*(more if column == 'class' else '' for column in columns))
        else:
            table.add_row(*map(plain_name, rows[i]))
    return table


def _print_issues(
    screen: LiteralConsole,
    issues: Mapping[str, Sequence[Issue]],
    kinds: Mapping[str, IssueKind],
    place: Callable[[str, Issue], str],
) -> None:
    """Print a table of issues, what stops training first, and messages for the latter."""
    by_kind: dict[str, list[tuple[str, Issue]]] = {kind: [] for kind in kinds}
    for split, of_split in issues.items():
        for issue in of_split:
            by_kind[issue.kind].append((split, issue))
    found = {kind: places for kind, places in by_kind.items() if places}
    if not found:
        return
    table = Table(title='Issues', title_justify='left', title_style='bold', show_lines=True)
    fixes = ', and --fix against it' if any(kind.fix for kind in kinds.values()) else ''
    for column in ('found', 'times', 'first places', f'what it does{fixes}'):
        table.add_column(column, justify='right' if column == 'times' else 'left', overflow='fold')
    for kind, places in sorted(found.items(), key=lambda item: not _stops(item[1])):
        meaning = _meaning(kinds[kind], _stops(places))
        row = (kind, str(len(places)), _first_places(places, place), meaning)
        table.add_row(*row, style='red' if _stops(places) else None)
    screen.print(table)
    for kind, places in found.items():
        if _stops(places):
            first = next(issue for _, issue in places if issue.fatal)
            screen.print(f'{kind}: {first.message}', style='red', soft_wrap=True)


def _first_places(places: list[tuple[str, Issue]], place: Callable[[str, Issue], str]) -> str:
    """Return a line per split: how many issues it has, and where the first of them are."""
    by_split: dict[str, list[str]] = {}
    for split, issue in places:
        by_split.setdefault(split, []).append(place(split, issue))
    return '\n'.join(
        f'{split} ({len(names)}): {first_names(names, _FIRST_PLACES)}'
        for split, names in by_split.items()
    )


def _meaning(kind: IssueKind, fatal: bool) -> str:
    effect = kind.effect
    if fatal:
        effect = STOPS.effect
    elif effect == STOPS.effect:
        effect = f'{effect} of masks'
    if kind.fix:
        return f'{effect}\n--fix {kind.fix}'
    return f'{effect}\nfix by hand' if fatal else effect


def _stops(places: list[tuple[str, Issue]]) -> bool:
    return any(issue.fatal for _, issue in places)
