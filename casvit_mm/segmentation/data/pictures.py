"""Sheets of images with their label maps laid over them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from casvit_mm.datasets.sheets import TILES, add_legend, read_picture, shorten
from casvit_mm.plotting.figures import save_figure
from casvit_mm.segmentation.data.checks import Inspection

__all__ = ['draw_samples']

_SIDE = 512  # px that a tile has room for
_CANDIDATES = 2000  # images to choose from
_OPACITY = 0.6


def draw_samples(inspection: Inspection, split: str, out: Path) -> Path | None:
    """Draw up to twelve images that show as many classes as possible, coloured by class.

    Ignored pixels, and those whose value is no class, keep the image's grey.

    Args:
        inspection: What was found.
        split: The split to draw from.
        out: PNG file.

    Returns:
        ``out``, or None if no image can be drawn.
    """
    data = inspection.data
    colours = np.array(data.palette) / 255
    tiles = []
    for i in _choose(inspection, split):
        pair = inspection.pairs[split][i]
        picture = read_picture(Path(pair.image))
        if picture is not None:
            tiles.append((Path(pair.image).name, picture, _class_map(inspection, pair.label)))
        if len(tiles) == TILES:
            break
    if not tiles:
        return None
    columns = min(4, len(tiles))
    rows = -(-len(tiles) // columns)
    ratio = np.median([picture.shape[0] / picture.shape[1] for _, picture, _ in tiles])
    height = (3.4 * float(np.clip(ratio, 0.4, 1.6)) + 0.3) * rows + 1.2
    figure = Figure(figsize=(max(6, 3.4 * columns), height), dpi=110, layout='constrained')
    total = len(inspection.pairs[split])
    figure.suptitle(f'{split}: {len(tiles)} of {total} images; what has no colour is ignored')
    shown: Counter[int] = Counter()
    for position, (name, picture, classes) in enumerate(tiles, 1):
        axis = figure.add_subplot(rows, columns, position)
        axis.imshow(_overlay(picture, classes, colours))
        axis.set_axis_off()
        axis.set_title(shorten(name), fontsize=8)
        shown.update(dict(enumerate(np.bincount(classes[classes >= 0], minlength=1).tolist())))
    add_legend(figure, data.classes, colours, +shown)
    return save_figure(figure, out)


def _choose(inspection: Inspection, split: str) -> list[int]:
    """Return positions of sound pairs in an order that shows new classes early."""
    sound = [i for i, scan in enumerate(inspection.scans[split]) if scan.issue is None]
    present = inspection.pixels(split) > 0
    readable = [i for i, scan in enumerate(inspection.scans[split]) if scan.counts is not None]
    classes = dict(zip(readable, present, strict=True))
    left = np.random.default_rng(0).permutation(sound)[:_CANDIDATES].tolist()
    seen = np.zeros(len(inspection.data.classes), dtype=bool)
    chosen: list[int] = []
    while left and len(chosen) < 2 * TILES:  # some images may not be readable
        best = max(left, key=lambda i: int((classes[i] & ~seen).sum()))
        left.remove(best)
        seen |= classes[best]
        chosen.append(best)
    return chosen


def _class_map(inspection: Inspection, path: str) -> np.ndarray:
    """Return the class of each pixel, -1 for none, of a label map made smaller."""
    data = inspection.data
    label = Image.open(path)
    label.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
    values = np.asarray(label).astype(np.int64)
    classes = values - data.first_value
    learnt = (classes >= 0) & (classes < len(data.classes)) & ~np.isin(values, list(data.ignore))
    return np.where(learnt, classes, -1)


def _overlay(picture: np.ndarray, classes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return RGB from 0 to 1: grey image, tinted where there is a class."""
    height, width = classes.shape
    scale = 1 if picture.dtype == np.uint8 else 255  # 16 bits come from 0 to 1
    image = Image.fromarray((picture * scale).astype(np.uint8)).resize((width, height)).convert('L')
    grey = np.asarray(image)[..., None] / 255  # (H, W, 1)
    tinted = (1 - _OPACITY) * grey + _OPACITY * colours[classes]
    return np.where(classes[..., None] >= 0, tinted, np.repeat(grey, 3, axis=2))
