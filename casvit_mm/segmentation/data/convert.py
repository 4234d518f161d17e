"""A segmentation dataset as labelled images, to be written in another format."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from casvit_mm.datasets.formats.outlines import mask_fields
from casvit_mm.datasets.image_scan import read_in_threads
from casvit_mm.datasets.issues import notes_of, refuse_fatal
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.segmentation.data.checks import inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.recoding import Recoding
from casvit_mm.segmentation.data.scan import label_values
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['labelled_set']


def labelled_set(path: str | Path) -> tuple[LabelledSet, list[str]]:
    """Return the images of all splits with their regions, and what the user should know.

    A region is what of a class hangs together, corners included; it becomes an object with a mask.
    Ignored pixels belong to none.

    Args:
        path: What ``--data`` takes.

    Raises:
        InputError: If training would refuse images or masks.
    """
    data = read_dataset(path)
    inspection = inspect_dataset(data, tuple(data.splits))
    refuse_fatal(inspection.issues)
    ids = {data.first_value + k: k + 1 for k in range(len(data.classes))}
    learnt = {value: k for value, k in ids.items() if value not in data.ignore}
    read = partial(_labels_of, inspection.recoding, learnt)
    splits = {
        name: read_in_threads(read, pairs, f'reading masks of {name}')
        for name, pairs in inspection.pairs.items()
    }
    categories = [dict(id=i, name=name) for i, name in enumerate(data.classes, 1)]
    notes = [
        *data.notes,
        *inspection.notes,
        *(note for issues in inspection.issues.values() for note in notes_of(issues)),
        'every connected region of a class became an object; ignored pixels are in none',
    ]
    return LabelledSet('segmentation', categories, splits), notes


def _labels_of(recoding: Recoding, learnt: dict[int, int], pair: ImagePair) -> ImageLabels:
    values = label_values(pair.label, recoding)
    assert values is not None  # the inspection has read it
    height, width = values.shape
    labels = ImageLabels(Path(pair.image), Path(pair.image).name, width, height)
    for value in np.unique(values).tolist():
        if value in learnt:
            number, regions = cv2.connectedComponents((values == value).astype(np.uint8))
            for region in range(1, number):
                fields = mask_fields(regions == region)
                labels.objects.append(dict(category_id=learnt[value], iscrowd=0, **fields))
    return labels
