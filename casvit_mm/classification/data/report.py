"""The whole check of a classification set: inspect, report and draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from casvit_mm.classification.data.checks import Inspection, inspect_dataset
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.issues import ISSUE_KINDS
from casvit_mm.classification.data.pictures import draw_samples
from casvit_mm.datasets.image_scan import duplicate_issues
from casvit_mm.datasets.report import (
    describe_spread,
    print_verdict,
    split_table,
    spread,
    write_report,
)
from casvit_mm.datasets.sheets import draw_counts

__all__ = ['check_dataset']

_CLASSES_SHOWN = 40
_SPLIT_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    'images': lambda s: f'{s["images"]:,}',
    'unreadable': lambda s: str(s['unreadable'] or '-'),
    'width, least, median, most': describe_spread('width'),
    'height, likewise': describe_spread('height'),
}


def check_dataset(data: str | Path, out: str | Path, read_images: bool = True) -> bool:
    """Check a classification set, print a report, and write pictures and ``report.json``.

    Args:
        data: ``dataset.yaml``; see :mod:`casvit_mm.classification.data.description`.
        out: Folder for what is written.
        read_images: Whether image files are read, which finds damage and duplicates, and drawn.

    Returns:
        Whether training would start.

    Raises:
        InputError: If the description cannot be read, or its set not be taken apart.
    """
    described = read_dataset(data)
    inspection = inspect_dataset(described, tuple(described.splits), read_images)
    _add_duplicates(inspection)
    figures = {name: _describe(inspection, name) for name in inspection.scans}
    screen = print_verdict(inspection.issues, ISSUE_KINDS)
    screen.print(split_table(figures, _SPLIT_ROWS))
    screen.print(_class_table(inspection, figures))
    out = Path(out)
    pictures: list[Path | None] = []
    if inspection.classes:
        counts = {name: inspection.counts(name) for name in inspection.scans}
        path = out / 'classes.png'
        pictures.append(draw_counts(counts, list(inspection.classes), 'images', path))
    if read_images:
        pictures += [
            draw_samples(inspection, name, out / f'samples_{name}.png') for name in inspection.scans
        ]
    write_report(out, data, read_images, figures, inspection.issues, pictures)
    return inspection.trainable()


def _add_duplicates(inspection: Inspection) -> None:
    """Add images that occur twice, in place."""
    contents = {
        split: dict(
            images=[
                dict(file_name=inspection.short_name(image.path))
                for image in inspection.listings[split].images
            ]
        )
        for split in inspection.scans
    }
    scans = {split: dict(enumerate(found)) for split, found in inspection.scans.items()}
    for split, found in duplicate_issues(contents, scans).items():
        inspection.issues[split] += found


def _describe(inspection: Inspection, split: str) -> dict[str, Any]:
    """Return the figures of a split, as plain values."""
    sizes = np.array([s.upright for s in inspection.scans[split] if any(s.upright)]).reshape(-1, 2)
    counts = inspection.counts(split).tolist()
    return dict(
        images=len(inspection.listings[split].images),
        unreadable=sum(bool(s.error or s.damage) for s in inspection.scans[split]),
        width=spread(sizes[:, 0]),
        height=spread(sizes[:, 1]),
        images_per_class=dict(zip(inspection.classes, counts, strict=True)),
    )


def _class_table(inspection: Inspection, figures: dict[str, dict[str, Any]]) -> Table:
    """Return one row per class, by label; of very many the most and the least frequent."""
    table = Table(
        title='Classes: images, and their share of the split',
        title_justify='left',
        title_style='bold',
    )
    table.add_column('label', justify='right')
    table.add_column('class', overflow='fold')
    for name in figures:
        table.add_column(name, justify='right')
        table.add_column('share', justify='right')
    labels: list[int | None] = [*range(len(inspection.classes))]
    if len(labels) > _CLASSES_SHOWN:
        order = np.argsort(-inspection.counts(next(iter(figures))), kind='stable').tolist()
        labels = [*order[: _CLASSES_SHOWN // 2], None, *order[-_CLASSES_SHOWN // 2 :]]
    for label in labels:
        if label is None:
            more = len(inspection.classes) - _CLASSES_SHOWN
            table.add_row('', f'... {more} more in report.json ...')
            continue
        name = inspection.classes[label]
        cells = []
        for split in figures.values():
            count, total = split['images_per_class'][name], sum(split['images_per_class'].values())
            cells += [f'{count:,}', f'{count / total:.1%}'] if count else ['-', '-']
        table.add_row(str(label), escape(name), *cells)
    return table
