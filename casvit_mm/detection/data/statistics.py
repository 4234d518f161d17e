"""Statistics of a detection dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from casvit_mm.datasets.fit import scale_factors
from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.report import describe_images
from casvit_mm.detection.data.objects import Objects

__all__ = ['describe_split', 'percentiles', 'scaled_boxes', 'share_of']

_PERCENTILES = (0, 10, 50, 90, 100)


def describe_split(objects: Objects, scans: Iterable[ImageScan]) -> dict[str, Any]:
    """Return the statistics of one split.

    Args:
        objects: Its objects; crowds are counted but not measured.
        scans: What the image files hold.
    """
    learnt = objects.learnt()
    box, size = objects.box[learnt], objects.size[learnt]
    area = objects.area[learnt]
    side = np.sqrt(box[:, 2] * box[:, 3])
    number = len(objects.images)
    per_image = np.bincount(objects.image[learnt])
    counts = np.bincount(objects.label[learnt], minlength=len(objects.classes))
    pairs = np.unique(np.stack([objects.image, objects.label])[:, learnt], axis=1)
    images = np.bincount(pairs[1], minlength=len(objects.classes))
    return dict(
        **describe_images(number, scans),
        objects=int(learnt.sum()),
        crowds=int(objects.crowd.sum()),
        not_learnt=int((~learnt & ~objects.crowd).sum()),
        objects_per_class=dict(zip(objects.classes, counts.tolist(), strict=True)),
        images_per_class=dict(zip(objects.classes, images.tolist(), strict=True)),
        objects_per_image=dict(
            mean=float(learnt.sum() / max(number, 1)), max=int(per_image.max(initial=0))
        ),
        box_side=percentiles(side),
        box_side_relative=percentiles(side / np.sqrt(size.prod(axis=1))),
        box_width_to_height=percentiles(box[:, 2] / box[:, 3]),
        coco_sizes=dict(
            small=share_of(area < 32**2),
            medium=share_of((area >= 32**2) & (area < 96**2)),
            large=share_of(area >= 96**2),
        ),
    )


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Return percentiles of ``(N,)`` values as ``p0``, ``p10`` ...; nothing of none."""
    if not len(values):
        return {}
    found = np.percentile(values, _PERCENTILES)
    return {f'p{p}': round(float(v), 4) for p, v in zip(_PERCENTILES, found, strict=True)}


def share_of(which: np.ndarray) -> float:
    """Return the share of ``(N,)`` that is true; 0 of none."""
    return round(float(which.mean()), 4) if len(which) else 0.0


def scaled_boxes(objects: Objects, scale: tuple[int, int] | None) -> np.ndarray:
    """Return the learnt boxes in pixels of the scaled images, ``(N, 4)``."""
    learnt = objects.learnt()
    factors = scale_factors(objects.size[learnt], scale)
    return objects.box[learnt] * factors[:, None]
