"""The metrics of a detector as tables for a terminal."""

from __future__ import annotations

import math
import re
from typing import Any

from rich import box
from rich.table import Table

from casvit_mm.errors import plain_name
from casvit_mm.plotting.tables import (
    LiteralConsole,
    class_table,
    format_metric,
    print_others,
    print_title,
)

__all__ = ['KINDS', 'print_errors', 'print_metrics']

KINDS = {'bbox': 'box', 'segm': 'mask'}
# Column of the tables: suffix in the metric's name.
_AP_COLUMNS = {'AP': '', 'AP50': '_50', 'AP75': '_75', 'APs': '_s', 'APm': '_m', 'APl': '_l'}


def print_metrics(metrics: dict[str, float], title: str = '') -> None:
    """Print the metrics of a detector: a table over all classes, then one per class, box and mask.

    Args:
        metrics: By the names that :class:`casvit_mm.detection.CocoAP` gives them.
        title: Line above the tables.
    """
    console = LiteralConsole()
    suffixes = dict.fromkeys(
        match.group(1) or ''
        for name in metrics
        if (match := re.search(r'_mAP(_maxDets\d+)?$', name))
    )
    kinds = [kind for kind in KINDS if f'coco/{kind}_mAP' in metrics]

    print_title(console, title)
    overall = Table()
    for column in ('', 'maxDets', *_AP_COLUMNS, 'AR'):
        overall.add_column(column, justify='right')
    for kind in kinds:
        for suffix in suffixes:
            keys = [f'coco/{kind}_mAP{part}{suffix}' for part in _AP_COLUMNS.values()]
            # mmdet's own metric has -1 where there is no ground truth.
            row = [v if (v := metrics.get(key, math.nan)) >= 0 else math.nan for key in keys]
            row.append(metrics.get(f'coco/{kind}_AR@{_limit(suffix)}', math.nan))
            overall.add_row(KINDS[kind], _limit(suffix), *map(format_metric, row))
    if kinds:
        console.print(overall)
    for kind in kinds:
        if any(key.startswith(f'coco/{kind}_AP/') for key in metrics):  # not mmdet's own metric
            console.print(_class_table(metrics, kind, list(suffixes)[-1]))
    shown = re.compile('coco/((bbox|segm)_(mAP|AR@|AP[_/])|objects/).*', re.DOTALL)
    print_others(console, {k: v for k, v in metrics.items() if not shown.fullmatch(k)})


def _class_table(metrics: dict[str, float], kind: str, suffix: str) -> Table:
    """Return one row per class: objects in the ground truth, AP by IoU and size, and AR."""
    where = f', {_limit(suffix)} detections per image' if suffix else ''
    table = class_table(f'\n{KINDS[kind]}, per class{where}', ('objects', *_AP_COLUMNS, 'AR'))
    start = f'coco/{kind}_AP/'
    for name in (key.removeprefix(start) for key in metrics if key.startswith(start)):
        keys = [f'coco/{kind}_AP{part}{suffix}/{name}' for part in _AP_COLUMNS.values()]
        keys.append(f'coco/{kind}_AR@{_limit(suffix)}/{name}')
        objects = metrics.get(f'coco/objects/{name}')
        table.add_row(
            plain_name(name),
            '-' if objects is None else f'{objects:.0f}',
            *(format_metric(metrics.get(key, math.nan)) for key in keys),
        )
    return table


def _limit(suffix: str) -> str:
    return suffix.removeprefix('_maxDets') or '100'


def print_errors(summary: dict[str, Any]) -> None:
    """Print what :func:`casvit_mm.detection.evaluation.analysis.summarise` found."""
    console = LiteralConsole(soft_wrap=True)
    console.print(
        f'\nErrors of the boxes with score >= {summary["threshold"]:.3f}, where F1 is highest: '
        f'F1 {summary["f1"]:.3f}, precision {summary["precision"]:.3f}, '
        f'recall {summary["recall"]:.3f}'
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column('error')
    table.add_column('number', justify='right')
    table.add_column('share', justify='right')
    table.add_column('meaning')
    total = sum(summary['errors'].values())
    for kind, count in sorted(summary['errors'].items(), key=lambda item: -item[1]):
        share = f'{100 * count / total:.0f}%' if total else '-'
        table.add_row(kind, str(count), share, summary['meaning'][kind])
    console.print(table)
    console.print('\n' + '\n'.join(summary['remarks']))
