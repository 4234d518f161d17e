"""The names under which metrics of segmentation report, known before anything is predicted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from casvit_mm.config.forms import type_name
from casvit_mm.errors import InputError

__all__ = ['COUNTS', 'MAIN_METRICS', 'metric_names']

COUNTS = 'pixels/'
MAIN_METRICS = re.compile('mIoU|mAcc|aAcc|IoU/.*', re.DOTALL)

_OF_IOU_METRIC = {
    'mIoU': ('mIoU', 'mAcc'),
    'mDice': ('mDice', 'mAcc'),
    'mFscore': ('mFscore', 'mPrecision', 'mRecall'),
}


def metric_names(cfg: Config, metric: Mapping[str, Any]) -> list[str] | None:
    """Return the names of what a metric reports; None if they are unknown.

    Raises:
        InputError: If the metric does not have what is asked of it.
    """
    kind = type_name(metric)
    if kind == 'SegmentationIoU':
        return ['mIoU', 'mAcc', 'aAcc']
    if kind != 'IoUMetric':
        return None
    asked = metric.get('iou_metrics') or ['mIoU']
    unknown = [name for name in asked if name not in _OF_IOU_METRIC]
    if unknown:
        raise InputError(
            f'{cfg.filename}: IoUMetric has no metric {unknown[0]!r}; it has '
            f'{", ".join(_OF_IOU_METRIC)}'
        )
    prefix = f'{metric["prefix"]}/' if metric.get('prefix') else ''
    return [f'{prefix}{part}' for part in ['aAcc', *(p for n in asked for p in _OF_IOU_METRIC[n])]]
