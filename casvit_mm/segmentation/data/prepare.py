"""Checks the splits of a segmentation dataset and lists their pairs for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit_mm.datasets.issues import notes_of, refuse_fatal
from casvit_mm.io import write_json
from casvit_mm.segmentation.data.checks import Inspection, inspect_dataset
from casvit_mm.segmentation.data.description import SegmentationDescription
from casvit_mm.segmentation.data.recoding import copy_masks, write_masks
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['PreparedSplit', 'prepare_dataset']


@dataclass(frozen=True)
class PreparedSplit:
    """A checked split.

    Attributes:
        file: JSON file with the pairs, which ``LabelDataset`` reads.
        pairs: Images and their masks, as training reads them.
        recoded: How many of the masks are copies in which values or colours of classes are applied.
        pixels: Pixels of each class that are learnt or scored, int64 ``(classes,)``.
        ignored: Pixels that are neither.
        notes: What the user should know though it stops nothing.
    """

    file: Path
    pairs: tuple[ImagePair, ...]
    recoded: int
    pixels: np.ndarray
    ignored: int
    notes: tuple[str, ...]


def prepare_dataset(
    data: SegmentationDescription, splits: tuple[str, ...], folder: str | Path
) -> dict[str, PreparedSplit]:
    """Check splits and write down for each which images and masks it has.

    Args:
        data: The dataset.
        splits: Splits that will be read; for one that the set does not have, val is taken.
        folder: Where to write ``<split>.json``, and ``masks/`` where the files are not as training
            reads them.

    Returns:
        Every one of ``splits``.

    Raises:
        InputError: If a split fails its checks, splits share images, or a file cannot be written.
    """
    used = data.used_splits(splits)
    inspection = inspect_dataset(data, used)
    refuse_fatal(inspection.issues)
    prepared = {}
    for name in used:
        file = Path(folder, f'{name}.json').resolve()
        pairs, recoded = _readable_pairs(inspection, name, Path(folder, 'masks'))
        write_json(file, dict(pairs=[pair._asdict() for pair in pairs]))
        pixels = inspection.pixels(name).sum(axis=0)
        prepared[name] = PreparedSplit(
            file,
            pairs,
            recoded,
            pixels,
            int(inspection.counts(name).sum() - pixels.sum()),
            (*(inspection.notes if name == 'train' else ()), *notes_of(inspection.issues[name])),
        )
    return {name: prepared[data.used_split(name)] for name in splits}


def _readable_pairs(
    inspection: Inspection, split: str, folder: Path
) -> tuple[tuple[ImagePair, ...], int]:
    """Return pairs whose masks training can read, and how many of the masks are copies."""
    scans, pairs = inspection.scans[split], inspection.pairs[split]
    if inspection.data.objects is not None:
        return tuple(copy_masks(pairs, folder)), 0
    old = [pair for pair, scan in zip(pairs, scans, strict=True) if scan.recoded]
    new = iter(write_masks(old, inspection.recoding, folder, split))
    read = tuple(next(new) if s.recoded else p for p, s in zip(pairs, scans, strict=True))
    return read, len(old)
