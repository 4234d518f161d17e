"""What the tables of metrics of every task share: their look, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from casvit_mm.errors import escaped, plain_name

__all__ = [
    'LiteralConsole',
    'class_table',
    'format_metric',
    'format_share',
    'plain_table',
    'print_lines',
    'print_others',
    'print_title',
]


class LiteralConsole(Console):
    """A console that shows every text as it is: names are chosen by whoever made the data.

    ``[red]fish``, ``[/x]`` and ``:dog:`` are names and no orders to rich, and what a terminal would
    obey is escaped. Colours are set by ``style``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **{**options, 'markup': False, 'emoji': False})


def plain_table(title: str) -> Table:
    """Return an empty table without a frame, which is narrow enough for many columns."""
    return Table(
        title=title,
        title_justify='left',
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # names of 15 letters fit into 80 columns
        pad_edge=False,
        show_edge=False,
    )


def class_table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table with a row per class: its name and one number per column."""
    table = plain_table(title)
    table.add_column('class', overflow='fold')
    for column in columns:
        table.add_column(column, justify='right', no_wrap=True)
    return table


def print_title(console: Console, title: str) -> None:
    """Print a line above the tables, if there is one; a long path in it is not wrapped."""
    if title:
        console.print(title, soft_wrap=True)


def print_lines(lines: Sequence[str]) -> None:
    """Print lines as they are; a long one is not wrapped."""
    if lines:
        LiteralConsole().print('\n'.join(lines), soft_wrap=True)


def print_others(console: Console, metrics: Mapping[str, float]) -> None:
    """Print one row for each metric that no table of ours has a place for, if there are any."""
    if metrics:
        table = plain_table('\nother metrics')
        table.add_column('metric', overflow='fold')
        table.add_column('value', justify='right', no_wrap=True)
        for name, value in metrics.items():
            table.add_row(plain_name(name), format_metric(value))
        console.print(table)


def format_metric(value: float) -> str:
    """Return a metric with three decimals, and a dash for NaN."""
    return '-' if math.isnan(value) else f'{value:.3f}'


def format_share(part: float, total: float) -> str:
    """Return a share with one decimal; what is there is never shown as nothing."""
    if not part:
        return '-'
    return '<0.1%' if part / total < 0.001 else f'{part / total:.1%}'
