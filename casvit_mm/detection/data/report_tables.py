"""The report on a detection dataset: verdict, tables and advice for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rich.table import Table

from casvit_mm.datasets.fit import Fit
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.report import IMAGE_ROWS, Report, class_table
from casvit_mm.detection.data.checks import Inspection
from casvit_mm.detection.data.issues import ISSUE_KINDS
from casvit_mm.task import CheckOptions

__all__ = ['SPLIT_ROWS', 'class_rows', 'make_report']

_CLASSES_SHOWN = 20
SPLIT_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    **IMAGE_ROWS,
    'objects': lambda s: str(s['objects']),
    'ignored objects, crowds': lambda s: f'{s["not_learnt"]}, {s["crowds"]}',
    'objects per image, mean and max': lambda s: (
        f'{s["objects_per_image"]["mean"]:.1f}, {s["objects_per_image"]["max"]}'
    ),
    'box side in px, 10th, 50th, 90th percentile': lambda s: _middle(s['box_side'], '{:.0f}'),
    '  as a share of the image side': lambda s: _middle(s['box_side_relative'], '{:.2f}'),
    'box width / height, likewise': lambda s: _middle(s['box_width_to_height'], '{:.2f}'),
    'COCO small, medium, large': lambda s: ', '.join(
        f'{share:.0%}' for share in s['coco_sizes'].values()
    ),
}


def make_report(
    inspection: Inspection,
    splits: dict[str, dict[str, Any]],
    fit: Fit,
    options: CheckOptions,
) -> Report:
    """Return what is to be printed and written.

    Args:
        inspection: What was found.
        splits: :func:`casvit_mm.detection.data.statistics.describe_split` by split.
        fit: How a config fits them.
        options: What the check went by.
    """
    train = inspection.loaded.get('train')
    return Report(
        inspection.data.path,
        options,
        ISSUE_KINDS,
        inspection.issues,
        splits,
        fit,
        (*inspection.data.notes, *(train.notes if train else ())),
        _with_what(inspection),
        partial(_image_name, inspection),
    )


def _with_what(inspection: Inspection) -> str:
    """Return what of the objects training could take, where no config says it."""
    if inspection.with_masks is not None:
        return ''
    complete = inspection.masks_complete()
    return ', with boxes and masks' if complete else ', with boxes but not with masks'


def _image_name(inspection: Inspection, split: str, issue: Issue) -> str | None:
    """Return the file name of the image of an annotation that has an issue."""
    if issue.entry is None or issue.entry[0] != 'annotations':
        return None
    row = inspection.objects[split].row_of(issue.entry[1])
    if row is None:
        return None
    image = inspection.objects[split].image[row]
    return str(inspection.loaded[split].content['images'][image].get('file_name'))


def _middle(figures: dict[str, float], form: str) -> str:
    return ', '.join(form.format(figures[p]) for p in ('p10', 'p50', 'p90')) if figures else '-'


def class_rows(splits: dict[str, dict[str, Any]]) -> Table:
    """Return the table of objects per class, the most frequent of train first."""
    counts = {split: figures['objects_per_class'] for split, figures in splits.items()}
    first = next(iter(counts.values()))
    names = list(dict.fromkeys(name for of_split in counts.values() for name in of_split))
    names.sort(key=lambda name: -first.get(name, 0))
    rows = [[name, *(str(c.get(name, '-')) for c in counts.values())] for name in names]
    in_first = [first.get(name, 0) for name in names]
    return class_table('Objects per class', ['class', *splits], rows, in_first, _CLASSES_SHOWN)
