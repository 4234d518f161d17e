"""The names under which metrics of classification report, known before anything is predicted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from casvit_mm.config.forms import type_name

__all__ = ['COUNTS', 'MAIN_METRICS', 'metric_names']

COUNTS = 'images/'
MAIN_METRICS = re.compile('accuracy/top.*|recall|precision|f1|recall/.*', re.DOTALL)


def metric_names(cfg: Config, metric: Mapping[str, Any]) -> list[str] | None:
    """Return the names of what a metric reports, ``*`` for any ending; None if they are unknown."""
    kind = type_name(metric)
    if kind == 'ClassificationAccuracy':
        prefix = f'{metric["prefix"]}/' if metric.get('prefix') else ''
        topk = (f'accuracy/top{k}' for k in metric.get('topk', (1, 5)))
        return [f'{prefix}{name}' for name in (*topk, 'precision', 'recall', 'f1')]
    if kind == 'Accuracy':
        topk = metric.get('topk', (1,))
        ending = '*' if metric.get('thrs') else ''
        return [
            f'{metric.get("prefix") or "accuracy"}/top{k}{ending}'
            for k in ([topk] if isinstance(topk, int) else topk)
        ]
    return None
