"""The metrics of a segmentor as tables for a terminal."""

from __future__ import annotations

import re

from rich.table import Table

from casvit_mm.errors import plain_name
from casvit_mm.plotting.tables import (
    LiteralConsole,
    class_table,
    format_metric,
    format_share,
    print_others,
    print_title,
)

__all__ = ['print_metrics']


def print_metrics(metrics: dict[str, float], title: str = '') -> None:
    """Print the metrics of a segmentor: the means, then one row per class.

    Args:
        metrics: By the names that :class:`casvit_mm.segmentation.SegmentationIoU` gives them, with
            those of each class.
        title: Line above the tables.
    """
    console = LiteralConsole()
    print_title(console, title)
    means = [name for name in ('mIoU', 'mAcc', 'aAcc') if name in metrics]
    overall = Table(*means)
    overall.add_row(*(format_metric(metrics[name]) for name in means))
    if means:
        console.print(overall)
    table = class_table('\nper class', ('IoU', 'Acc', 'pixels'))
    names = [key.removeprefix('pixels/') for key in metrics if key.startswith('pixels/')]
    total = sum(metrics[f'pixels/{name}'] for name in names)
    for name in names:
        of_class = (format_metric(metrics[f'{key}/{name}']) for key in ('IoU', 'Acc'))
        table.add_row(plain_name(name), *of_class, format_share(metrics[f'pixels/{name}'], total))
    if names:
        console.print(table)
    shown = re.compile('mIoU|mAcc|aAcc|(IoU|Acc|pixels)/.*', re.DOTALL)
    print_others(console, {k: v for k, v in metrics.items() if not shown.fullmatch(k)})
