"""The names under which metrics of detection report, known before anything is predicted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from casvit_mm.config.editing import dicts_in
from casvit_mm.config.forms import type_name
from casvit_mm.errors import InputError

__all__ = ['COUNTS', 'MAIN_METRICS', 'metric_names']

COUNTS = 'coco/objects/'
MAIN_METRICS = re.compile(r'coco/(bbox|segm)_(mAP(_50|_75|_[sml])?|AP/.*)', re.DOTALL)

_ASKED = {
    'CocoAP': ('bbox', 'segm'),
    'CocoMetric': ('bbox', 'segm', 'proposal', 'proposal_fast'),
}
_PARTS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


def metric_names(cfg: Config, metric: Mapping[str, Any]) -> list[str] | None:
    """Return the names of what a metric reports, ``*`` for any ending; None if they are unknown.

    Raises:
        InputError: If the metric does not have what is asked of it, or the model gives no masks.
    """
    kind, asked = type_name(metric), metric.get('metric') or 'bbox'
    asked = [asked] if isinstance(asked, str) else list(asked)
    if kind == 'VOCMetric':
        return [f'{metric.get("prefix") or "pascal_voc"}/{name}' for name in ('mAP', 'AP*', 'AR*')]
    if kind not in _ASKED:
        return None
    for name in asked:
        if name not in _ASKED[kind]:
            raise InputError(
                f'{cfg.filename}: {kind} has no metric {name!r}; it has {", ".join(_ASKED[kind])}'
            )
    if 'segm' in asked and not _predicts_masks(cfg):
        raise InputError(
            f"{cfg.filename}: {kind} is asked for metric='segm', and {type_name(cfg.model)} "
            "predicts no masks. Set metric='bbox', or take a config with masks, such as maskrcnn"
        )
    prefix = metric.get('prefix') or 'coco'
    if kind == 'CocoAP':
        parts = [part for name in _PARTS for part in (name, f'{name}_maxDets*')]
        parts += ['AR@*', 'AP/*', 'AP_maxDets*']
    elif metric.get('metric_items') or metric.get('classwise') or 'proposal' in asked:
        return None
    else:
        parts = list(_PARTS)
    return [f'{prefix}/{name}_{part}' for name in asked for part in parts]


def _predicts_masks(cfg: Config) -> bool:
    """Return whether any part of the model has to do with masks."""
    return any('mask' in key and node[key] for node in dicts_in(cfg.model) for key in node)
