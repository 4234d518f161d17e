"""The whole check of a classification dataset: inspect, report and draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from casvit_mm.classification.data.apply import check_config
from casvit_mm.classification.data.checks import Inspection, inspect_dataset
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.fit import classification_fit
from casvit_mm.classification.data.fix import fix_dataset
from casvit_mm.classification.data.issues import ISSUE_KINDS
from casvit_mm.classification.data.pictures import draw_samples
from casvit_mm.config.paths import ROOT
from casvit_mm.datasets.copies import print_copy, require_images
from casvit_mm.datasets.duplicates import duplicate_issues
from casvit_mm.datasets.fit import load_judged
from casvit_mm.datasets.image_scan import scan_images
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.report import (
    IMAGES_UNREAD,
    class_table,
    describe_spread,
    print_verdict,
    split_table,
    spread,
    write_report,
)
from casvit_mm.datasets.sheets import draw_counts
from casvit_mm.task import CheckOptions

__all__ = ['check_dataset']

_SPLIT_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    'images': lambda s: f'{s["images"]:,}',
    'unreadable': lambda s: str(s['unreadable'] or '-'),
    'width, min, median, max': describe_spread('width'),
    'height, likewise': describe_spread('height'),
}


def check_dataset(data: str | Path, out: str | Path, options: CheckOptions) -> bool:
    """Check a classification dataset, print a report, and write pictures and ``report.json``.

    Args:
        data: ``dataset.yaml``; see :mod:`casvit_mm.classification.data.description`.
        out: Folder for what is written.
        options: What to go by.

    Returns:
        Whether training would start; with ``options.fix``, whether it would with the copy.

    Raises:
        InputError: If the description cannot be read, its set not be taken apart, the copy not be
            made, or the config not be read or not fit the data.
    """
    require_images(options)
    config = options.config or str(ROOT / 'configs' / 'casvit_xs_imagenet.py')
    cfg = load_judged(config, check_config)
    described = read_dataset(data)
    scan = scan_images if options.read_images else None
    inspection = inspect_dataset(described, tuple(described.splits), scan)
    _add_duplicates(inspection)
    statistics = {name: _describe(inspection, name) for name in inspection.scans}
    unread = '' if options.read_images else IMAGES_UNREAD
    screen = print_verdict(inspection.issues, ISSUE_KINDS, with_what=unread)
    screen.print(split_table(statistics, _SPLIT_ROWS))
    screen.print(_class_table(inspection, statistics))
    fit = classification_fit(config, cfg, inspection)
    fit.print(screen)
    out = Path(out)
    pictures: list[Path | None] = []
    if inspection.classes:
        counts = {name: inspection.counts(name) for name in inspection.scans}
        path = out / 'classes.png'
        pictures.append(draw_counts(counts, list(inspection.classes), 'images', path))
    if options.read_images:
        pictures += [
            draw_samples(inspection, name, out / f'samples_{name}.png') for name in inspection.scans
        ]
    more = dict(config=config, fit=fit.figures, advice=fit.advice)
    write_report(out, data, options.read_images, statistics, inspection.issues, pictures, more)
    if options.fix is not None:
        return _print_changes(inspection, *fix_dataset(inspection, options.fix))
    return inspection.trainable()


def _print_changes(inspection: Inspection, path: Path, changes: list[tuple[str, Issue]]) -> bool:
    """Print what was fixed, and return whether training would start with the copy."""
    described = read_dataset(path)
    copied = inspect_dataset(described, tuple(described.splits))
    counts = [
        f'{name}: {len(inspection.listings[name].images)} images before, '
        f'{len(copied.listings[name].images)} in the copy'
        for name in copied.scans
    ]
    return print_copy(path, changes, ISSUE_KINDS, counts, copied.issues)


def _add_duplicates(inspection: Inspection) -> None:
    """Add images that occur twice, in place."""
    scans = {split: dict(enumerate(found)) for split, found in inspection.scans.items()}
    names = {
        split: {
            i: inspection.short_name(image.path)
            for i, image in enumerate(inspection.listings[split].images)
        }
        for split in scans
    }
    for split, found in duplicate_issues(scans, names).items():
        inspection.issues[split] += found


def _describe(inspection: Inspection, split: str) -> dict[str, Any]:
    """Return the statistics of a split, as plain values."""
    sizes = np.array([s.upright for s in inspection.scans[split] if any(s.upright)]).reshape(-1, 2)
    counts = inspection.counts(split).tolist()
    return dict(
        images=len(inspection.listings[split].images),
        unreadable=sum(bool(s.fault) for s in inspection.scans[split]),
        width=spread(sizes[:, 0]),
        height=spread(sizes[:, 1]),
        images_per_class=dict(zip(inspection.classes, counts, strict=True)),
    )


def _class_table(inspection: Inspection, splits: dict[str, dict[str, Any]]) -> Table:
    """Return one row per class, by label."""
    columns = ['label', 'class']
    for split in splits:
        columns += [split, 'share']
    rows = []
    for label, name in enumerate(inspection.classes):
        cells = [str(label), name]
        for statistics in splits.values():
            per_class = statistics['images_per_class']
            count, total = per_class[name], sum(per_class.values())
            cells += [f'{count:,}', f'{count / total:.1%}'] if count else ['-', '-']
        rows.append(cells)
    counts = inspection.counts(next(iter(splits))).tolist()
    title = 'Classes: images, and their share of the split'
    return class_table(title, columns, rows, counts)
