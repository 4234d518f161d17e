"""The report on a dataset of any task: verdict and tables for a person, JSON for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from casvit_mm.datasets.fit import Fit
from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.issues import STOPS, Issue, IssueKind, is_trainable
from casvit_mm.errors import first_names, plain_name
from casvit_mm.io import write_json
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.task import CheckOptions

__all__ = [
    'IMAGE_ROWS',
    'Report',
    'class_table',
    'console',
    'count_kinds',
    'describe_images',
    'split_table',
    'titles_of',
    'verdict_on',
]

_NOT_DECODED = ', as far as beginnings and ends of the images tell: --fast decodes none'
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


@dataclass(frozen=True)
class Report:
    """What the check of a dataset of any task has found, to be printed and written.

    Attributes:
        data: The description that was checked.
        options: What the check went by.
        kinds: What each kind of issue means, in the order of the table.
        found: Issues by split.
        splits: Statistics by split.
        fit: How a config fits them.
        notes: How a set was taken apart, as the log of a training says it.
        with_what: Follows on "training can start", e.g. ``', with boxes and masks'``.
        image_of: Names the image that an issue of a split is in, where its place does not.
    """

    data: str | Path
    options: CheckOptions
    kinds: Mapping[str, IssueKind]
    found: Mapping[str, Sequence[Issue]]
    splits: dict[str, dict[str, Any]]
    fit: Fit
    notes: Sequence[str] = ()
    with_what: str = ''
    image_of: Callable[[str, Issue], str | None] = lambda split, issue: None

    def verdict(self) -> str:
        """Say in one line whether training would start."""
        not_decoded = '' if self.options.read_images else _NOT_DECODED
        return verdict_on(self.found, self.with_what + not_decoded)

    def show(
        self, rows: Mapping[str, Callable[[dict[str, Any]], str]], classes: Table | None
    ) -> None:
        """Print verdict, issues, how a set was taken apart, the tables, and how the config fits.

        Args:
            rows: Of the table of splits; see :func:`split_table`.
            classes: A row per class; None where no split could be read.
        """
        screen = console()
        style = f'bold {"green" if is_trainable(self.found) else "red"}'
        screen.print(self.verdict(), style=style, soft_wrap=True)
        _print_issues(screen, self.found, self.kinds, self._place)
        for note in self.notes:
            screen.print(note, soft_wrap=True)
        if self.splits:
            screen.print(split_table(self.splits, rows))
        if classes is not None:
            screen.print(classes)
        self.fit.print(screen)

    def write(self, out: Path, pictures: Sequence[Path | None]) -> None:
        """Write ``report.json``, and print where it and the pictures are.

        Args:
            out: Folder to write to.
            pictures: Files that were drawn; None for those that could not be.
        """
        report = dict(
            data=str(self.data),
            config=self.fit.config,
            verdict=self.verdict(),
            trainable=is_trainable(self.found),
            images_read=self.options.read_images,
            notes=list(self.notes),
            splits=self.splits,
            fit=self.fit.figures,
            advice=self.fit.advice,
            defects=[
                dict(
                    split=split,
                    kind=issue.kind,
                    where=issue.where,
                    image=self.image_of(split, issue),
                    message=issue.message,
                    fatal=issue.fatal,
                )
                for split, issues in self.found.items()
                for issue in issues
            ],
            pictures=[path.name for path in pictures if path is not None],
        )
        write_json(out / 'report.json', report)
        text = f'Pictures and report.json (every place of every issue): {out}'
        console().print(text, soft_wrap=True)

    def _place(self, split: str, issue: Issue) -> str:
        image = self.image_of(split, issue)
        return issue.where if image is None else f'{issue.where} of {image}'


def count_kinds(kinds: Iterable[str]) -> str:
    """Return a line for each kind of issue, with how often it occurs, as title of a picture."""
    return '\n'.join(f'{k} x {n}' if n > 1 else k for k, n in Counter(kinds).items())


def titles_of(issues: Sequence[Issue]) -> dict[int, str]:
    """Return what was found in each image, by its position; what is about no image is left out."""
    kinds: dict[int, list[str]] = {}
    for issue in issues:
        if issue.entry is not None and issue.entry[0] == 'images':
            kinds.setdefault(issue.entry[1], []).append(issue.kind)
    return {image: count_kinds(found) for image, found in kinds.items()}


def split_table(
    splits: Mapping[str, dict[str, Any]], rows: Mapping[str, Callable[[dict[str, Any]], str]]
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


def describe_images(number: int, scans: Iterable[ImageScan]) -> dict[str, Any]:
    """Return the statistics of the images of a split, for :data:`IMAGE_ROWS`.

    Args:
        number: How many there are.
        scans: What those hold that were looked at.
    """
    scans = list(scans)
    sizes = np.array([scan.upright for scan in scans if not scan.fault]).reshape(-1, 2)
    return dict(
        images=number,
        unreadable=sum(scan.fault is not None for scan in scans),
        width=_spread(sizes[:, 0]),
        height=_spread(sizes[:, 1]),
    )


def _spread(values: np.ndarray) -> list[int]:
    """Return minimum, median and maximum of ``(N,)`` values; nothing of none."""
    if not len(values):
        return []
    return np.percentile(values, (0, 50, 100), method='nearest').astype(int).tolist()


IMAGE_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    'images': lambda split: f'{split["images"]:,}',
    'unreadable': lambda split: str(split['unreadable'] or '-'),
    'width, min, median, max': lambda split: ', '.join(map(str, split['width'])) or '-',
    'height, likewise': lambda split: ', '.join(map(str, split['height'])) or '-',
}


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
