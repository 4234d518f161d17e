"""YOLO: ``data.yaml``, ``images/<split>/`` and ``labels/<split>/`` with a text file for each image.

A line is a class and a box, or a class and one outline, all as shares of the image
(https://docs.ultralytics.com/datasets/segment/). Several polygons and the holes of a mask become
one outline, joined by lines to and fro that have no width; what lies beyond the image is cut.
Classified images go into a folder for each class (https://docs.ultralytics.com/datasets/classify/).
"""

from __future__ import annotations

from pathlib import Path

import yaml

from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Writer, one_outline

__all__ = ['WRITER']

_DIGITS = 12  # of a share: below a millionth of a pixel
_SAME = 1e-6  # share of the image within which a value is not cut


def _write(labelled: LabelledSet, folder: Path) -> str:
    numbers = {category['id']: i for i, category in enumerate(labelled.categories)}
    kinds = set()
    for split, images in labelled.splits.items():
        for image in images:
            lines = []
            for one in image.objects:
                shares = _shares(one, image, labelled)
                if shares is not None:
                    kinds.add(len(shares) == 4)
                    values = ' '.join(repr(round(value, _DIGITS)) for value in shares)
                    lines.append(f'{numbers[one["category_id"]]} {values}\n')
            path = (folder / 'labels' / split / image.name).with_suffix('.txt')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(''.join(lines))
    if len(kinds) == 2:
        labelled.lost['outlines for Ultralytics, which takes boxes alone from a set with both'] += 1
    names = {i: category['name'] for i, category in enumerate(labelled.categories)}
    content = {split: f'images/{split}' for split in labelled.splits} | dict(names=names)
    content |= {key: labelled.fields[key] for key in ('max_dets',) if key in labelled.fields}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / 'data.yaml').write_text(text, encoding='utf-8')
    return 'data.yaml'


def _shares(one: dict, image: ImageLabels, labelled: LabelledSet) -> list[float] | None:
    """Return what stands behind the class; None if nothing of it is in the image."""
    sides = image.width, image.height
    if one.get('segmentation'):
        outline = one_outline(one['segmentation'], *sides)
        shares = [value / sides[i % 2] for i, value in enumerate(outline)]
        cut = [min(max(share, 0.0), 1.0) for share in shares]
        spans = max(cut[::2]) - min(cut[::2]), max(cut[1::2]) - min(cut[1::2])
    else:
        x, y, w, h = one['bbox']
        shares = [x / sides[0], y / sides[1], (x + w) / sides[0], (y + h) / sides[1]]
        cut = [min(max(share, 0.0), 1.0) for share in shares]
        spans = cut[2] - cut[0], cut[3] - cut[1]
    if not min(spans) > 0:
        labelled.lost['objects without area in their image: left out'] += 1
        return None
    if max(abs(a - b) for a, b in zip(shares, cut, strict=True)) > _SAME:
        labelled.lost['objects that reach beyond their image: cut at its edge'] += 1
    if one.get('segmentation'):
        return cut
    left, top = cut[:2]
    return [left + spans[0] / 2, top + spans[1] / 2, *spans]


WRITER = Writer('YOLO', frozenset({'outlines'}), _write)
