"""Sheets of images with the names of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from casvit_mm.classification.data.checks import Inspection
from casvit_mm.datasets.sheets import TILES, read_tiles, shorten, start_sheet, tile_ratio
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
    tiles = read_tiles((i, Path(usable[i][0])) for i in _choose(usable))
    if not tiles:
        return None
    height = 2.7 * tile_ratio(tiles) + 0.55
    figure, axes = start_sheet(len(tiles), width=2.7, height=height, rest=0.5)
    shown = len({usable[i][1] for i, _ in tiles})
    there = len({label for _, label in usable})
    figure.suptitle(
        f'{split}: {len(tiles)} of {len(usable):,} images, {shown} of {there} classes', fontsize=11
    )
    for axis, (i, picture) in zip(axes, tiles, strict=True):
        path, label = usable[i]
        axis.imshow(picture)
        name = shorten(inspection.classes[label])
        axis.set_title(f'{name}\n', fontsize=10, fontweight='bold')
        file = shorten(Path(path).name)
        axis.text(0.5, 1.02, file, fontsize=7, color='0.4', ha='center', transform=axis.transAxes)
    return save_figure(figure, out)


def _choose(usable: list[tuple[str, int]]) -> list[int]:
    """Return positions of images, by label: of each class one, then of each another one."""
    seen: dict[int, int] = {}
    turns: list[tuple[int, int, int]] = []
    for i in np.random.default_rng(0).permutation(len(usable)).tolist():
        label = usable[i][1]
        turns.append((seen.get(label, 0), len(turns), i))
        seen[label] = seen.get(label, 0) + 1
    chosen = [i for _, _, i in sorted(turns)[:TILES]]
    return sorted(chosen, key=lambda i: (usable[i][1], usable[i][0]))
