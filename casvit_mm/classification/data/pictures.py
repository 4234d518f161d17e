"""Sheets of images with the names of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from casvit_mm.classification.data.checks import Inspection
from casvit_mm.datasets.sheets import TILES, read_picture, shorten
from casvit_mm.plotting.figures import save_figure

__all__ = ['draw_samples']


def draw_samples(inspection: Inspection, split: str, out: Path) -> Path | None:
    """Draw up to twelve images that show as many classes as possible, drawn at random.

    Args:
        inspection: What was found.
        split: The split to draw from.
        out: PNG file.

    Returns:
        ``out``, or None if no image can be drawn.
    """
    usable = inspection.usable(split)
    tiles = [
        (label, path, picture)
        for label, path in _choose(usable)
        if (picture := read_picture(Path(path))) is not None
    ]
    if not tiles:
        return None
    columns = min(4, len(tiles))
    rows = -(-len(tiles) // columns)
    ratio = np.median([picture.shape[0] / picture.shape[1] for _, _, picture in tiles])
    height = (2.7 * float(np.clip(ratio, 0.4, 1.6)) + 0.55) * rows + 0.5
    figure = Figure(figsize=(max(6, 2.7 * columns), height), dpi=110, layout='constrained')
    shown = len({label for label, _, _ in tiles})
    there = len({label for _, label in usable})
    figure.suptitle(
        f'{split}: {len(tiles)} of {len(usable):,} images, {shown} of {there} classes', fontsize=11
    )
    for position, (label, path, picture) in enumerate(tiles, 1):
        axis = figure.add_subplot(rows, columns, position)
        axis.imshow(picture)
        axis.set_axis_off()
        name = shorten(inspection.classes[label])
        axis.set_title(f'{name}\n', fontsize=10, fontweight='bold')
        file = shorten(Path(path).name)
        axis.text(0.5, 1.02, file, fontsize=7, color='0.4', ha='center', transform=axis.transAxes)
    return save_figure(figure, out)


def _choose(usable: list[tuple[str, int]]) -> list[tuple[int, str]]:
    """Return labels and paths, by label: of each class one, then of each another one."""
    seen: dict[int, int] = {}
    turns: list[tuple[int, int, int, str]] = []
    for i in np.random.default_rng(0).permutation(len(usable)).tolist():
        path, label = usable[i]
        turns.append((seen.get(label, 0), len(turns), label, path))
        seen[label] = seen.get(label, 0) + 1
    return sorted((label, path) for _, _, label, path in sorted(turns)[:TILES])
