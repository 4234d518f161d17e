"""What the tables of every task share: their look, and how numbers are written."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table

__all__ = ['format_metric', 'format_share', 'plain_table']


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


def format_metric(value: float) -> str:
    """Return a metric with three decimals, and a dash for NaN."""
    return '-' if math.isnan(value) else f'{value:.3f}'


def format_share(part: float, total: float) -> str:
    """Return a share with one decimal; what is there is never shown as nothing."""
    if not part:
        return '-'
    return '<0.1%' if part / total < 0.001 else f'{part / total:.1%}'
