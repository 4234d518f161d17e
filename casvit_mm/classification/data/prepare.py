"""Checks the splits of a classification dataset and lists their images for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit_mm.classification.data.checks import inspect_dataset
from casvit_mm.classification.data.description import ClassificationDescription
from casvit_mm.classification.data.image_table import ImageTable, write_table
from casvit_mm.datasets.issues import notes_of, refuse_fatal

__all__ = ['PreparedSplit', 'prepare_dataset']


@dataclass(frozen=True)
class PreparedSplit:
    """A checked split.

    Attributes:
        file: JSON file with classes, images and labels, which ``ClassDataset`` reads.
        images: Absolute paths and labels, which are positions in ``classes``.
        classes: Names; the same for all splits.
        counts: Images of each class, int64 ``(classes,)``.
        notes: What the user should know though it stops nothing.
    """

    file: Path
    images: ImageTable
    classes: tuple[str, ...]
    counts: np.ndarray
    notes: tuple[str, ...]


def prepare_dataset(
    data: ClassificationDescription, splits: tuple[str, ...], folder: str | Path
) -> dict[str, PreparedSplit]:
    """Check splits and write down for each which images it has, and their labels.

    Args:
        data: The dataset.
        splits: Splits that will be read; for one that the set does not have, val is taken.
        folder: Where to write ``<split>.json``.

    Returns:
        Every one of ``splits``.

    Raises:
        InputError: If a split fails its checks, or splits share images.
    """
    used = data.used_splits(splits)
    inspection = inspect_dataset(data, used)
    refuse_fatal(inspection.issues)
    prepared = {}
    for name in used:
        file = Path(folder, f'{name}.json').resolve()
        images = ImageTable(inspection.usable(name))
        write_table(file, inspection.classes, images)
        prepared[name] = PreparedSplit(
            file,
            images,
            inspection.classes,
            inspection.counts(name),
            (*(inspection.notes if name == 'train' else ()), *notes_of(inspection.issues[name])),
        )
    return {name: prepared[data.used_split(name)] for name in splits}
