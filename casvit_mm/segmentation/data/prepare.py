"""A checked set of segmentation masks, listed for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit_mm.datasets.issues import refuse_fatal, remarks_of
from casvit_mm.io import write_json
from casvit_mm.segmentation.data.checks import inspect_labels
from casvit_mm.segmentation.data.description import LabelData
from casvit_mm.segmentation.data.pairs import LabelPair

__all__ = ['PreparedLabels', 'prepare_label_data']


@dataclass(frozen=True)
class PreparedLabels:
    """A checked split.

    Attributes:
        file: JSON file with the pairs, which ``LabelDataset`` reads.
        pairs: Images and their label maps.
        pixels: Pixels of each class that are learnt or scored, int64 ``(classes,)``.
        ignored: Pixels that are neither.
        remarks: What the user should know though it stops nothing.
    """

    file: Path
    pairs: tuple[LabelPair, ...]
    pixels: np.ndarray
    ignored: int
    remarks: tuple[str, ...]


def prepare_label_data(
    data: LabelData, splits: tuple[str, ...], folder: str | Path
) -> dict[str, PreparedLabels]:
    """Check splits and write down for each which images and label maps it has.

    Args:
        data: The data set.
        splits: Splits that will be read; for one that the set does not have, val is taken.
        folder: Where to write ``<split>.json``.

    Returns:
        Every one of ``splits``.

    Raises:
        InputError: If a split fails its checks, or splits share images.
    """
    used = data.used_splits(splits)
    inspection = inspect_labels(data, used)
    refuse_fatal(inspection.defects)
    prepared = {}
    for name in used:
        file = Path(folder, f'{name}.json').resolve()
        pairs = tuple(inspection.pairs[name])
        write_json(file, dict(pairs=[pair._asdict() for pair in pairs]))
        pixels = inspection.pixels(name).sum(axis=0)
        prepared[name] = PreparedLabels(
            file,
            pairs,
            pixels,
            int(inspection.counts(name).sum() - pixels.sum()),
            remarks_of(inspection.defects[name]),
        )
    return {name: prepared[data.used_split(name)] for name in splits}
