"""The metrics of a segmentor as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from casvit_mm.plotting.tables import format_metric, format_share, plain_table

__all__ = ['print_segmentation_metrics']


def print_segmentation_metrics(metrics: dict[str, float], title: str = '') -> None:
    """Print segmentation figures: the means, then one row per class.

    Args:
        metrics: Figures named as :class:`casvit_mm.segmentation.SegmentationIoU` names them, with
            those of each class.
        title: Line above the tables.
    """
    console = Console()
    if title:
        console.print(title, soft_wrap=True, highlight=False)
    means = ('mIoU', 'mAcc', 'aAcc')
    overall = Table(*means)
    overall.add_row(*(format_metric(metrics[name]) for name in means))
    console.print(overall)
    table = plain_table('\nper class')
    table.add_column('class', overflow='fold')
    for column in ('IoU', 'Acc', 'pixels'):
        table.add_column(column, justify='right', no_wrap=True)
    names = [key.removeprefix('pixels/') for key in metrics if key.startswith('pixels/')]
    total = sum(metrics[f'pixels/{name}'] for name in names)
    for name in names:
        figures = (format_metric(metrics[f'{key}/{name}']) for key in ('IoU', 'Acc'))
        table.add_row(name, *figures, format_share(metrics[f'pixels/{name}'], total))
    console.print(table)
