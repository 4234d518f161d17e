"""The report on a data set: verdict, tables and advice for a person, JSON for a program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.report import console, issues_in_short, print_issues, split_table
from casvit_mm.detection.data.checks import Inspection
from casvit_mm.detection.data.issues import ISSUE_KINDS

__all__ = ['issue_entries', 'print_report', 'verdict']

_CLASSES_SHOWN = 20


_SPLIT_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    'images': lambda s: str(s['images']),
    'objects': lambda s: str(s['objects']),
    'ignored objects, crowds': lambda s: f'{s["not_learnt"]}, {s["crowds"]}',
    'objects per image, mean and most': lambda s: (
        f'{s["objects_per_image"]["mean"]:.1f}, {s["objects_per_image"]["max"]}'
    ),
    'image width, least, median, most': lambda s: _three(s['image_width']),
    'image height, likewise': lambda s: _three(s['image_height']),
    'box side in px, 10th, 50th, 90th percentile': lambda s: _middle(s['box_side'], '{:.0f}'),
    '  as a share of the image side': lambda s: _middle(s['box_side_relative'], '{:.2f}'),
    'box width / height, likewise': lambda s: _middle(s['box_width_to_height'], '{:.2f}'),
    'COCO small, medium, large': lambda s: ', '.join(
        f'{share:.0%}' for share in s['coco_sizes'].values()
    ),
}


def verdict(inspection: Inspection) -> str:
    """Say in one line whether training would start."""
    issues = [d for found in inspection.issues.values() for d in found]
    fatal = sum(d.fatal for d in issues)
    if fatal:
        return f'NO: training would refuse this data or break off; {fatal} places stop it.'
    text = 'YES: training can start'
    if inspection.with_masks is None:
        complete = inspection.masks_complete()
        text += ', with boxes and masks' if complete else ', with boxes but not with masks'
    return f'{text}; {issues_in_short(issues)}'


def issue_entries(inspection: Inspection) -> list[dict[str, Any]]:
    """Return all issues as plain values, by split."""
    return [
        dict(
            split=split,
            kind=d.kind,
            where=d.where,
            image=_image_name(inspection, split, d),
            message=d.message,
            fatal=d.fatal,
        )
        for split, issues in inspection.issues.items()
        for d in issues
    ]


def _image_name(inspection: Inspection, split: str, issue: Issue) -> str | None:
    """Return the file name of the image that a defective annotation belongs to."""
    if issue.entry is None or issue.entry[0] != 'annotations':
        return None
    row = inspection.objects[split].row_of.get(issue.entry[1])
    if row is None:
        return None
    image = inspection.objects[split].image[row]
    return str(inspection.loaded[split].content['images'][image].get('file_name'))


def _place(inspection: Inspection, split: str, issue: Issue) -> str:
    image = _image_name(inspection, split, issue)
    return issue.where if image is None else f'{issue.where} of {image}'


def print_report(
    inspection: Inspection,
    splits: dict[str, dict[str, Any]],
    fit: dict[str, Any],
    advice: list[str],
    config: str,
) -> None:
    """Print the report.

    Args:
        inspection: What was found.
        splits: :func:`casvit_mm.detection.data.statistics.describe_split` by split.
        fit: :func:`casvit_mm.detection.data.statistics.describe_anchors`.
        advice: Sentences.
        config: The config that is judged.
    """
    screen = console()
    colour = 'green' if inspection.trainable() else 'red'
    screen.print(verdict(inspection), style=f'bold {colour}', soft_wrap=True, markup=False)
    print_issues(
        screen, inspection.issues, ISSUE_KINDS, lambda split, d: _place(inspection, split, d)
    )
    if splits:
        screen.print(split_table(splits, _SPLIT_ROWS))
        screen.print(_class_table(splits))
    if fit:
        _print_fit(screen, fit, config)
    if advice:
        screen.print('Advice', style='bold')
    for line in advice:
        screen.print(f'- {line}', soft_wrap=True, markup=False)


def _three(figures: dict[str, float]) -> str:
    return ', '.join(f'{figures[p]:.0f}' for p in ('p0', 'p50', 'p100')) if figures else '-'


def _middle(figures: dict[str, float], form: str) -> str:
    return ', '.join(form.format(figures[p]) for p in ('p10', 'p50', 'p90')) if figures else '-'


def _class_table(splits: dict[str, dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(n for s in splits.values() for n in s['objects_per_class']))
    first = next(iter(splits.values()))['objects_per_class']
    names.sort(key=lambda name: -first.get(name, 0))
    table = Table(title='Objects per class', title_justify='left', title_style='bold')
    table.add_column('class')
    for split in splits:
        table.add_column(split, justify='right')
    half = _CLASSES_SHOWN // 2
    cut = len(names) > _CLASSES_SHOWN
    for name in [*names[:half], None, *names[-half:]] if cut else names:
        if name is None:
            table.add_row(f'... {len(names) - 2 * half} more in classes.png ...')
            continue
        counts = (str(s['objects_per_class'].get(name, '-')) for s in splits.values())
        table.add_row(escape(name), *counts)
    return table


def _print_fit(screen: Console, fit: dict[str, Any], config: str) -> None:
    screen.print('Fit', style='bold')
    sides = fit['scaled_box_side']
    scale = fit['image_scale']
    text = f'Judged by {Path(config).name}'
    if scale:
        text += f', which scales images into {scale[0]} x {scale[1]}'
    text += (
        f': box sides are {sides["p10"]:.0f}, {sides["p50"]:.0f}, {sides["p90"]:.0f} px there '
        '(10th, 50th, 90th percentile of train). Nine anchors by k-means, width x height: '
    )
    text += ', '.join(f'{w}x{h}' for w, h in fit['kmeans_anchors'])
    screen.print(text, soft_wrap=True, markup=False)
