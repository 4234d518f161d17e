"""The metrics of a classifier as tables for a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rich.table import Table

from casvit_mm.errors import plain_name
from casvit_mm.plotting.tables import (
    LiteralConsole,
    class_table,
    format_metric,
    print_others,
    print_title,
)

__all__ = ['print_metrics']

_MAX_ROWS = 100  # of classes; a longer table is not read
_WORST_CLASSES = 20  # that are shown of more classes


def print_metrics(
    metrics: dict[str, float],
    title: str = '',
    taken_for: Mapping[str, tuple[str, float]] | None = None,
) -> None:
    """Print the metrics of a classifier: the means, then one row per class.

    Of more than 100 classes the 20 with the lowest recall are shown.

    Args:
        metrics: By the names that :class:`casvit_mm.classification.ClassificationAccuracy` gives
            them, with those of each class.
        title: Line above the tables.
        taken_for: By class, the one that its images are most often taken for, and the share of its
            images that are.
    """
    console = LiteralConsole()
    print_title(console, title)
    tops = [key for key in metrics if key.startswith('accuracy/top')]
    means = {key.replace('accuracy/top', 'top-'): metrics[key] for key in tops}
    rates = [name for name in ('recall', 'precision', 'F1') if name.lower() in metrics]
    means |= {f'mean {name}': metrics[name.lower()] for name in rates}
    overall = Table(*means)
    overall.add_row(*map(format_metric, means.values()))
    if means:
        console.print(overall)
    names = [key.removeprefix('images/') for key in metrics if key.startswith('images/')]
    many = len(names) > _MAX_ROWS
    if many:
        known = [name for name in names if metrics[f'images/{name}']]
        shown = sorted(known, key=lambda name: metrics[f'recall/{name}'])[:_WORST_CLASSES]
    if names:
        console.print(_class_table(metrics, shown if many else names, taken_for or {}))
    if many:
        console.print(
            f'{len(shown)} of {len(names)} classes, those with the lowest recall; '
            '--out FILE writes them all',
            soft_wrap=True,
        )
    ours = re.compile(
        'accuracy/top.*|recall|precision|f1|(images|recall|precision|f1)/.*', re.DOTALL
    )
    print_others(console, {k: v for k, v in metrics.items() if not ours.fullmatch(k)})


def _class_table(
    metrics: dict[str, float], names: list[str], taken_for: Mapping[str, tuple[str, float]]
) -> Table:
    """Return one row per class: its images, how well they are found, what they are taken for."""
    table = class_table('\nper class', ('images', 'recall', 'precision', 'F1'))
    if taken_for:
        table.add_column('most often taken for', overflow='fold')
    for name in names:
        rates = (format_metric(metrics[f'{key}/{name}']) for key in ('recall', 'precision', 'f1'))
        row = [plain_name(name), f'{metrics[f"images/{name}"]:.0f}', *rates]
        if name in taken_for:
            other, share = taken_for[name]
            row.append(f'{plain_name(other)} {share:.1%}')
        table.add_row(*row)
    return table
