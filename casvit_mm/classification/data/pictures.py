"""Sheets of images with the names of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from casvit_mm.classification.data.checks import Inspection
from casvit_mm.datasets.report import titles_of
from casvit_mm.datasets.sheets import (
    TILES,
    draw_counts,
    read_tiles,
    shorten,
    start_sheet,
    tile_ratio,
)
from casvit_mm.plotting.figures import save_figure

__all__ = ['draw_pictures']


def draw_pictures(inspection: Inspection, out: Path) -> list[Path | None]:
    """Draw the classes, and of every split samples and the images that have issues.

    Args:
        inspection: What was found.
        out: Folder for ``classes.png``, ``samples_<split>.png`` and ``findings_<split>.png``.

    Returns:
        The files; None for one that would show no image.
    """
    pictures: list[Path | None] = []
    if inspection.classes:
        counts = {name: inspection.counts(name) for name in inspection.scans}
        names = list(inspection.classes)
        pictures.append(draw_counts(counts, names, 'images', out / 'classes.png'))
    for split in inspection.scans:
        usable = inspection.usable(split)
        chosen = [(usable[i][0], inspection.classes[usable[i][1]], '') for i in _choose(usable)]
        there = len({label for _, label in usable})
        title = f'{split}: {{}} of {len(usable):,} images, {{}} of {there} classes'
        pictures.append(_draw(chosen, title, out / f'samples_{split}.png'))
        if titles := titles_of(inspection.issues[split]):
            images = inspection.listings[split].images
            found = [(*images[i], text) for i, text in titles.items()]
            title = f'{split}: images with issues, {len(found)} in all'
            pictures.append(_draw(found, title, out / f'findings_{split}.png'))
    return pictures


def _draw(chosen: list[tuple[str, str, str]], title: str, out: Path) -> Path | None:
    """Draw the first of some images, given by path, class and text; None if none can be read.

    The fields of the title are the number of images and of classes that are shown.
    """
    tiles = read_tiles((i, Path(path)) for i, (path, _, _) in enumerate(chosen))
    if not tiles:
        return None
    height = 2.7 * tile_ratio(tiles) + 0.55
    figure, axes = start_sheet(len(tiles), width=2.7, height=height, rest=0.5)
    classes = {chosen[i][1] for i, _ in tiles}
    figure.suptitle(title.format(len(tiles), len(classes)), fontsize=11)
    for axis, (i, picture) in zip(axes, tiles, strict=True):
        path, name, text = chosen[i]
        axis.imshow(picture)
        lines = text.count('\n') + 1 if text else 0
        axis.set_title('\n'.join([shorten(name), '', *[''] * lines]), fontsize=10, weight='bold')
        below = '\n'.join([text, shorten(Path(path).name)]).strip()
        axis.text(0.5, 1.02, below, fontsize=7, color='0.4', ha='center', transform=axis.transAxes)
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
