"""The whole check of a classification dataset: inspect, report and draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from casvit_mm.classification.data.apply import check_config
from casvit_mm.classification.data.checks import Inspection, inspect_dataset
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.fit import classification_fit
from casvit_mm.classification.data.fix import fix_dataset
from casvit_mm.classification.data.issues import ISSUE_KINDS
from casvit_mm.classification.data.pictures import draw_pictures
from casvit_mm.console import StatusLine
from casvit_mm.datasets.classes import rare_classes
from casvit_mm.datasets.copies import print_copy, require_images
from casvit_mm.datasets.fit import load_judged, load_recipe
from casvit_mm.datasets.image_scan import scan_headers, scan_images
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.report import (
    IMAGE_ROWS,
    Report,
    class_table,
    describe_images,
)
from casvit_mm.task import CheckOptions

__all__ = ['check_dataset']


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
    if (config := options.config) is None:
        config, cfg = load_recipe('classification')
    else:
        cfg = load_judged(config, check_config)
    described = read_dataset(data)
    scan = scan_images if options.read_images else scan_headers
    with StatusLine(f'{data}: checking'):
        inspection = inspect_dataset(described, tuple(described.splits), scan)
    statistics = {name: _describe(inspection, name) for name in inspection.scans}
    counts = statistics['train']['images_per_class']
    inspection.issues['train'] += rare_classes(counts, 'images')
    fit = classification_fit(config, cfg, inspection)
    notes = (*described.notes, *inspection.notes)
    report = Report(data, options, ISSUE_KINDS, inspection.issues, statistics, fit, notes)
    report.show(IMAGE_ROWS, _class_table(inspection, statistics))
    out = Path(out)
    with StatusLine('drawing'):
        pictures = draw_pictures(inspection, out)
    report.write(out, pictures)
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


def _describe(inspection: Inspection, split: str) -> dict[str, Any]:
    """Return the statistics of a split, as plain values."""
    counts = inspection.counts(split).tolist()
    return dict(
        **describe_images(len(inspection.listings[split].images), inspection.scans[split]),
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
