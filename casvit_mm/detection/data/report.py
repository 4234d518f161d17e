"""The whole check of a detection dataset: inspect, report, draw, and fix if asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.config import Config

from casvit_mm.console import StatusLine
from casvit_mm.datasets.copies import print_copy, require_images
from casvit_mm.datasets.fit import load_judged, load_recipe, read_scale
from casvit_mm.datasets.image_scan import scan_headers, scan_images
from casvit_mm.datasets.issues import Issue, is_trainable
from casvit_mm.datasets.report import count_kinds
from casvit_mm.detection.data.anchors import read_anchors
from casvit_mm.detection.data.apply import check_config, least_side, needs_masks
from casvit_mm.detection.data.checks import Inspection, inspect_dataset
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.fit import detection_fit
from casvit_mm.detection.data.fix import fix_dataset
from casvit_mm.detection.data.issues import ISSUE_KINDS
from casvit_mm.detection.data.pictures import Marks, draw_classes, draw_samples, draw_sizes
from casvit_mm.detection.data.report_tables import SPLIT_ROWS, class_rows, make_report
from casvit_mm.detection.data.split_checks import small_images
from casvit_mm.detection.data.statistics import (
    describe_split,
    scaled_boxes,
)
from casvit_mm.task import CheckOptions

__all__ = ['check_dataset']


def check_dataset(data: str | Path, out: str | Path, options: CheckOptions) -> bool:
    """Check a detection dataset, print a report, and write pictures and ``report.json``.

    Args:
        data: ``dataset.yaml``; see :mod:`casvit_mm.detection.data.description`.
        out: Folder for what is written.
        options: What to go by.

    Returns:
        Whether training would start; with ``options.fix``, whether it would with the copy.

    Raises:
        InputError: If the description or the config cannot be read, or the copy not be made.
    """
    require_images(options)
    config = options.config
    cfg = None if config is None else load_judged(config, check_config)
    scan = scan_images if options.read_images else scan_headers
    with_masks = None if cfg is None else needs_masks(cfg)
    with StatusLine(f'{data}: checking'):
        inspection = inspect_dataset(read_dataset(data), with_masks, scan)
    if config is None or cfg is None:
        config, cfg = load_recipe('masks' if inspection.masks_complete() else 'boxes')
    if is_trainable(inspection.issues):
        content = inspection.loaded['train'].content
        inspection.issues['train'] += small_images(content, least_side(cfg))

    splits = {
        name: describe_split(objects, inspection.scans.get(name, {}).values())
        for name, objects in inspection.objects.items()
    }
    fit = detection_fit(config, cfg, inspection, splits)
    report = make_report(inspection, splits, fit, options)
    report.show(SPLIT_ROWS, class_rows(splits) if splits else None)
    out = Path(out)
    with StatusLine('drawing'):
        pictures = _draw(inspection, cfg, out)
    report.write(out, pictures)
    if options.fix is not None:
        return _print_changes(inspection, *fix_dataset(inspection, options.fix))
    return inspection.trainable()


def _draw(inspection: Inspection, cfg: Config, out: Path) -> list[Path | None]:
    """Draw what can be drawn; return the files, and None for those that could not be."""
    pictures: list[Path | None] = []
    scale = read_scale(cfg)
    boxes = {n: scaled_boxes(o, scale) for n, o in inspection.objects.items()}
    boxes = {name: found for name, found in boxes.items() if len(found)}
    if boxes:
        pictures.append(draw_sizes(boxes, read_anchors(cfg), scale, out / 'sizes.png'))
    classes = {n: o for n, o in inspection.objects.items() if o.classes}
    if classes:
        pictures.append(draw_classes(classes, out / 'classes.png'))
    for name, objects in inspection.objects.items():
        split = inspection.loaded[name]
        title = f'{name}: {len(objects.images)} images'
        pictures.append(draw_samples(split, objects, title, out / f'samples_{name}.png'))
        marks = _mark_issues(inspection, name)
        if marks.texts:
            title = f'{name}: images with issues, {len(marks.texts)} in all'
            path = out / f'findings_{name}.png'
            pictures.append(draw_samples(split, objects, title, path, marks))
    return pictures


def _mark_issues(inspection: Inspection, name: str) -> Marks:
    """Return the issues of images that can be drawn, and where they are."""
    objects = inspection.objects[name]
    drawable = set(objects.images.tolist())
    kinds: dict[int, list[str]] = {}
    pointed: dict[int, set[int]] = {}
    for issue in inspection.issues[name]:
        section, index = issue.entry or ('', -1)
        row = objects.row_of(index) if section == 'annotations' else None
        if row is not None:
            image = int(objects.image[row])
        elif section == 'images':
            image = index
        else:
            continue
        if image not in drawable:
            continue
        kinds.setdefault(image, []).append(issue.kind)
        if section == 'annotations':
            pointed.setdefault(image, set()).add(index)
    texts = {
        image: count_kinds(found)
        for image, found in kinds.items()
        if set(found) != {'image without objects'}
    }
    return Marks(texts, pointed)


def _print_changes(inspection: Inspection, path: Path, changes: list[tuple[str, Issue]]) -> bool:
    """Print what was fixed, and return whether training would start with the copy."""
    copied = inspect_dataset(read_dataset(path), inspection.with_masks, scan_headers)
    counts = []
    for name, objects in copied.objects.items():
        before = inspection.objects[name]
        counts.append(
            f'{name}: {len(before.images)} images and {int(np.sum(before.learnt()))} usable '
            f'objects before, {len(objects.images)} and {int(np.sum(objects.learnt()))} in the copy'
        )
    return print_copy(path, changes, ISSUE_KINDS, counts, copied.issues)
