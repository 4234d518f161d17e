"""Sheets of images with their segmentation masks laid over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from casvit_mm.datasets.report import titles_of
from casvit_mm.datasets.sheets import (
    add_legend,
    choose_varied,
    draw_counts,
    read_tiles,
    shorten,
    start_sheet,
    tile_ratio,
)
from casvit_mm.plotting.figures import save_figure
from casvit_mm.segmentation.data.checks import Inspection

__all__ = ['draw_pictures']

_SIDE = 512  # px that a tile has room for
_CANDIDATES = 2000  # images to choose from
_OPACITY = 0.6
_IGNORED, _NO_CLASS = -1, -2


def draw_pictures(inspection: Inspection, out: Path) -> list[Path | None]:
    """Draw the classes, and of every split samples and the images that have issues.

    Args:
        inspection: What was found.
        out: Folder for ``classes.png``, ``samples_<split>.png`` and ``findings_<split>.png``.

    Returns:
        The files; None for one that would show no image.
    """
    names = list(inspection.data.classes)
    counts = {name: (inspection.pixels(name) > 0).sum(axis=0) for name in inspection.pairs}
    pictures: list[Path | None] = [draw_counts(counts, names, 'images', out / 'classes.png')]
    for split, pairs in inspection.pairs.items():
        chosen = dict.fromkeys(_choose(inspection, split), '')
        title = f'{split}: {{}} of {len(pairs)} images; what has no colour is ignored'
        pictures.append(_draw(inspection, split, chosen, title, out / f'samples_{split}.png'))
        if titles := titles_of(inspection.issues[split]):
            title = f'{split}: images with issues, {len(titles)} in all; red is no class'
            path = out / f'findings_{split}.png'
            pictures.append(_draw(inspection, split, titles, title, path))
    return pictures


def _draw(
    inspection: Inspection, split: str, chosen: Mapping[int, str], title: str, out: Path
) -> Path | None:
    """Draw the first of some pairs, given by position and text, coloured by class.

    Ignored pixels keep the image's grey; those whose value is no class are red.

    Returns:
        ``out``, or None if no image can be drawn.
    """
    data, pairs = inspection.data, inspection.pairs[split]
    colours = np.array(data.palette) / 255
    tiles = read_tiles((i, Path(pairs[i].image)) for i in chosen)
    if not tiles:
        return None
    lines = max(chosen[i].count('\n') + 1 if chosen[i] else 0 for i, _ in tiles)
    height = 3.4 * tile_ratio(tiles) + 0.3 + 0.15 * lines
    figure, axes = start_sheet(len(tiles), width=3.4, height=height, rest=1.2)
    figure.suptitle(title.format(len(tiles)))
    shown: Counter[int] = Counter()
    for axis, (i, picture) in zip(axes, tiles, strict=True):
        classes = _class_map(inspection, pairs[i].label)
        axis.imshow(picture if classes is None else _overlay(picture, classes, colours))
        name = shorten(Path(pairs[i].image).name)
        axis.set_title('\n'.join(filter(None, (name, chosen[i]))), fontsize=8)
        if classes is not None:
            counts = np.bincount(classes[classes >= 0], minlength=1)
            shown.update(dict(enumerate(counts.tolist())))
    add_legend(figure, data.classes, colours, +shown)
    return save_figure(figure, out)


def _choose(inspection: Inspection, split: str) -> list[int]:
    """Return positions of sound pairs in an order that shows new classes early."""
    scans = inspection.scans[split]
    readable = [i for i, scan in enumerate(scans) if scan.counts is not None]
    present = dict(zip(readable, inspection.pixels(split) > 0, strict=True))
    sound = [i for i, scan in enumerate(scans) if scan.issue is None]
    candidates = np.random.default_rng(0).permutation(sound)[:_CANDIDATES].tolist()
    return choose_varied({i: set(np.flatnonzero(present[i]).tolist()) for i in candidates})


def _class_map(inspection: Inspection, path: str) -> np.ndarray | None:
    """Return the class of each pixel of a mask made smaller; None if it cannot be read.

    Negative numbers stand for what is ignored, and for what is neither ignored nor a class.
    """
    data = inspection.data
    try:
        label: Image.Image = Image.open(path)
        recoded = inspection.recoding(label)
        values = np.asarray(label if recoded is None else recoded.values).astype(np.int64)
    except Exception:  # an issue of its own already, whatever the decoder says
        return None
    if values.ndim != 2:
        return None
    classes = values - data.first_value
    foreign = (classes < 0) | (classes >= len(data.classes))
    classes[foreign] = _NO_CLASS
    classes[np.isin(values, list(data.ignore))] = _IGNORED
    if recoded is not None:
        classes[recoded.unknown] = _NO_CLASS
    small = Image.fromarray(classes.astype(np.int32))
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return np.asarray(small)


def _overlay(picture: np.ndarray, classes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return RGB from 0 to 1: grey image, tinted where there is a class, red where a fault is."""
    height, width = classes.shape
    scale = 1 if picture.dtype == np.uint8 else 255  # 16 bits come from 0 to 1
    image = Image.fromarray((picture * scale).astype(np.uint8)).resize((width, height)).convert('L')
    grey = np.asarray(image)[..., None] / 255  # (H, W, 1)
    tinted = (1 - _OPACITY) * grey + _OPACITY * colours[classes]
    shown = np.where(classes[..., None] >= 0, tinted, np.repeat(grey, 3, axis=2))
    return np.where(classes[..., None] == _NO_CLASS, np.array([1.0, 0.0, 0.0]), shown)
