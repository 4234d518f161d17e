"""Figures as tables for a person and as JSON for a program."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ['print_metrics', 'write_json']

_AP_COLUMNS = {'AP': '', 'AP50': '_50', 'AP75': '_75', 'APs': '_s', 'APm': '_m', 'APl': '_l'}
_KINDS = {'bbox': 'box', 'segm': 'mask'}


def print_metrics(metrics: dict[str, float], title: str = '') -> None:
    """Print detection figures: one table over all classes, one per class.

    Args:
        metrics: Figures named as :class:`casvit_mm.detection.CocoAP` names them.
        title: Line above the tables.
    """
    console = Console()
    suffixes = dict.fromkeys(
        match.group(1) for name in metrics if (match := re.search(r'_mAP(_maxDets\d+)?$', name))
    )
    kinds = [kind for kind in _KINDS if f'coco/{kind}_mAP' in metrics]

    if title:
        console.print(title, soft_wrap=True, highlight=False)
    overall = Table()
    for column in ('', 'maxDets', *_AP_COLUMNS):
        overall.add_column(column, justify='right')
    for kind in kinds:
        for suffix in suffixes:
            row = [metrics[f'coco/{kind}_mAP{part}{suffix or ""}'] for part in _AP_COLUMNS.values()]
            limit = (suffix or '_maxDets100').removeprefix('_maxDets')
            overall.add_row(_KINDS[kind], limit, *map(_figure, row))
    console.print(overall)

    per_class = Table()
    per_class.add_column('AP of class')
    for kind in kinds:
        per_class.add_column(_KINDS[kind], justify='right')
    for name in (key.partition('/')[2] for key in metrics):
        if kinds and name.startswith(f'{kinds[0]}_AP/'):
            class_name = name.partition('/')[2]
            figures = [metrics[f'coco/{kind}_AP/{class_name}'] for kind in kinds]
            per_class.add_row(class_name, *map(_figure, figures))
    console.print(per_class)


def _figure(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.3f}'


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` in one step: a reader sees the old file or the new one, never half of it.

    NaN, which JSON lacks, becomes null.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in content.items()
    }
    part = path.with_name(f'{path.name}.part')
    part.write_text(json.dumps(plain, indent=2) + '\n')
    os.replace(part, path)
