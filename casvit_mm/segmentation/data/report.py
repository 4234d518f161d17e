"""The whole check of a segmentation set: inspect, report and draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from casvit_mm.datasets.image_scan import duplicate_issues, scan_images
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.report import (
    describe_spread,
    print_verdict,
    split_table,
    spread,
    write_report,
)
from casvit_mm.segmentation.data.checks import Inspection, inspect_dataset
from casvit_mm.segmentation.data.description import SegmentationDescription, read_dataset
from casvit_mm.segmentation.data.issues import ISSUE_KINDS
from casvit_mm.segmentation.data.pictures import draw_samples

__all__ = ['check_dataset']

_CLASSES_SHOWN = 40
_SPLIT_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    'images': lambda s: str(s['images']),
    'width, least, median, most': describe_spread('width'),
    'height, likewise': describe_spread('height'),
    'pixels': lambda s: f'{s["pixels"]:,}',
    'pixels ignored or of no class': lambda s: _share(s['ignored_or_foreign_pixels'], s['pixels']),
}


def check_dataset(data: str | Path, out: str | Path, read_images: bool = True) -> bool:
    """Check a segmentation set, print a report, and write pictures and ``report.json``.

    Args:
        data: ``dataset.yaml``; see :mod:`casvit_mm.segmentation.data.description`.
        out: Folder for what is written.
        read_images: Whether image files are read as a whole, which finds damage and duplicates,
            and drawn.

    Returns:
        Whether training would start.

    Raises:
        InputError: If the description cannot be read.
    """
    described = read_dataset(data)
    inspection = inspect_dataset(described, tuple(described.splits))
    if read_images:
        _add_image_issues(inspection)
    figures = {name: _describe(inspection, name) for name in inspection.pairs}
    screen = print_verdict(inspection.issues, ISSUE_KINDS)
    screen.print(split_table(figures, _SPLIT_ROWS))
    screen.print(_class_table(described, figures))
    out = Path(out)
    pictures: list[Path | None] = []
    if read_images:
        pictures = [
            draw_samples(inspection, name, out / f'samples_{name}.png') for name in inspection.pairs
        ]
    write_report(out, data, read_images, figures, inspection.issues, pictures)
    return inspection.trainable()


def _add_image_issues(inspection: Inspection) -> None:
    """Read every image and add what is damaged, or occurs twice, in place."""
    contents, scans = {}, {}
    for name, pairs in inspection.pairs.items():
        paths = [Path(pair.image) for pair in pairs]
        contents[name] = dict(images=[dict(file_name=path.name) for path in paths])
        scans[name] = dict(enumerate(scan_images(paths, name)))
        for i, scan in scans[name].items():
            if scan.error and inspection.scans[name][i].issue is None:
                message = f'image {paths[i]} cannot be read: {scan.error}'
                issue = Issue('unreadable image', paths[i].name, message, True)
                inspection.issues[name].append(issue)
    for name, found in duplicate_issues(contents, scans).items():
        inspection.issues[name] += found


def _describe(inspection: Inspection, split: str) -> dict[str, Any]:
    """Return the figures of a split, as plain values."""
    pixels = inspection.pixels(split)
    counts = inspection.counts(split)
    sizes = np.array([scan.size for scan in inspection.scans[split]]).reshape(-1, 2)
    names = inspection.data.classes
    return dict(
        images=len(inspection.pairs[split]),
        width=spread(sizes[:, 0]),
        height=spread(sizes[:, 1]),
        pixels=int(counts.sum()),
        ignored_or_foreign_pixels=int(counts.sum() - pixels.sum()),
        pixels_per_class=dict(zip(names, pixels.sum(axis=0).tolist(), strict=True)),
        images_per_class=dict(zip(names, (pixels > 0).sum(axis=0).tolist(), strict=True)),
    )


def _share(part: int, whole: int) -> str:
    if not part:
        return '-'
    percent = 100 * part / whole
    return f'{percent:.2f}%' if percent >= 0.005 else '< 0.01%'


def _class_table(data: SegmentationDescription, figures: dict[str, dict[str, Any]]) -> Table:
    """Return one row per class, by value; of very many the most and the least frequent."""
    table = Table(
        title='Classes: share of the learnt or scored pixels, and images that show them',
        title_justify='left',
        title_style='bold',
    )
    table.add_column('value', justify='right')
    table.add_column('class', overflow='fold')
    for name in figures:
        table.add_column(f'{name} pixels', justify='right')
        table.add_column('images', justify='right')
    values = dict(zip(data.classes, range(data.first_value, 256), strict=False))
    names: list[str | None] = [*data.classes]
    if len(names) > _CLASSES_SHOWN:
        first = next(iter(figures.values()))['pixels_per_class']
        ordered = sorted(data.classes, key=lambda name: -first[name])
        names = [*ordered[: _CLASSES_SHOWN // 2], None, *ordered[-_CLASSES_SHOWN // 2 :]]
    for shown in names:
        if shown is None:
            table.add_row('', f'... {len(data.classes) - _CLASSES_SHOWN} more in report.json ...')
            continue
        cells = []
        for split in figures.values():
            learnt = sum(split['pixels_per_class'].values())
            cells.append(_share(split['pixels_per_class'][shown], learnt))
            cells.append(str(split['images_per_class'][shown] or '-'))
        table.add_row(str(values[shown]), escape(shown), *cells)
    return table
