"""The whole check of a segmentation dataset: inspect, report and draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

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
from casvit_mm.errors import first_names
from casvit_mm.segmentation.data.apply import check_config
from casvit_mm.segmentation.data.checks import Inspection, inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.fit import segmentation_fit
from casvit_mm.segmentation.data.fix import fix_dataset
from casvit_mm.segmentation.data.issues import ISSUE_KINDS
from casvit_mm.segmentation.data.pictures import draw_pictures
from casvit_mm.segmentation.data.recoding import describe_coding
from casvit_mm.task import CheckOptions

__all__ = ['check_dataset']

_NAMED = 6  # pairs that are printed; changes.json has all
_SPLIT_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    **IMAGE_ROWS,
    'pixels': lambda s: f'{s["pixels"]:,}',
    'pixels ignored or of no class': lambda s: _share(s['ignored_or_foreign_pixels'], s['pixels']),
}


def check_dataset(data: str | Path, out: str | Path, options: CheckOptions) -> bool:
    """Check a segmentation dataset, print a report, and write pictures and ``report.json``.

    Args:
        data: ``dataset.yaml``; see :mod:`casvit_mm.segmentation.data.description`.
        out: Folder for what is written.
        options: What to go by.

    Returns:
        Whether training would start; with ``options.fix``, whether it would with the copy.

    Raises:
        InputError: If the description cannot be read, the copy not be made, or the config not be
            read or not fit the data.
    """
    require_images(options)
    if (config := options.config) is None:
        config, cfg = load_recipe('segmentation')
    else:
        cfg = load_judged(config, check_config)
    described = read_dataset(data)
    scan = scan_images if options.read_images else scan_headers
    with StatusLine(f'{data}: checking'):
        inspection = inspect_dataset(described, tuple(described.splits), scan)
    statistics = {name: _describe(inspection, name) for name in inspection.pairs}
    counts = statistics['train']['images_per_class']
    inspection.issues['train'] += rare_classes(counts, 'images')
    fit = segmentation_fit(config, cfg, inspection)
    notes = (*described.notes, *inspection.notes)
    report = Report(data, options, ISSUE_KINDS, inspection.issues, statistics, fit, notes)
    report.show(_SPLIT_ROWS, _class_table(inspection, statistics))
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
        f'{name}: {len(inspection.pairs[name])} pairs before, {len(pairs)} in the copy'
        for name, pairs in copied.pairs.items()
    ]
    if paired := [issue.where for _, issue in changes if issue.kind == 'names that differ']:
        counts.append(f'{len(paired)} pairs by names: {first_names(paired, _NAMED)}')
    return print_copy(path, changes, ISSUE_KINDS, counts, copied.issues)


def _describe(inspection: Inspection, split: str) -> dict[str, Any]:
    """Return the statistics of a split, as plain values."""
    pixels = inspection.pixels(split)
    counts = inspection.counts(split)
    scans = inspection.scans[split]
    names = inspection.data.classes
    return dict(
        **describe_images(len(scans), [scan.image for scan in scans]),
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


def _class_table(inspection: Inspection, splits: dict[str, dict[str, Any]]) -> Table:
    """Return one row per class, by its value in the masks."""
    data = inspection.data
    scans = [scan for found in inspection.scans.values() for scan in found]
    told = describe_coding(data, sum(scan.recoded for scan in scans), len(scans))
    columns = ['value', 'class']
    for split in splits:
        columns += [f'{split} pixels', 'images']
    rows = []
    for value, name in enumerate(data.classes, data.first_value):
        written = [
            str(raw) for raw, read in (data.values or {value: value}).items() if read == value
        ]
        cells = [', '.join(written), name]
        for statistics in splits.values():
            learnt = sum(statistics['pixels_per_class'].values())
            cells.append(_share(statistics['pixels_per_class'][name], learnt))
            cells.append(str(statistics['images_per_class'][name] or '-'))
        rows.append(cells)
    counts = list(next(iter(splits.values()))['pixels_per_class'].values())
    title = (
        f'Classes, told by {told}: share of the learnt or scored pixels, and images that show them'
    )
    return class_table(title, columns, rows, counts)
