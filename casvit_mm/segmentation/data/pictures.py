"""Sheets of images with their segmentation masks laid over them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from casvit_mm.datasets.sheets import (
    add_legend,
    choose_varied,
    read_tiles,
    shorten,
    start_sheet,
    tile_ratio,
)
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
    pairs = inspection.pairs[split]
    tiles = read_tiles((i, Path(pairs[i].image)) for i in _choose(inspection, split))
    if not tiles:
        return None
    height = 3.4 * tile_ratio(tiles) + 0.3
    figure, axes = start_sheet(len(tiles), width=3.4, height=height, rest=1.2)
    figure.suptitle(f'{split}: {len(tiles)} of {len(pairs)} images; what has no colour is ignored')
    shown: Counter[int] = Counter()
    for axis, (i, picture) in zip(axes, tiles, strict=True):
        classes = _class_map(inspection, pairs[i].label)
        axis.imshow(_overlay(picture, classes, colours))
        axis.set_title(shorten(Path(pairs[i].image).name), fontsize=8)
        shown.update(dict(enumerate(np.bincount(classes[classes >= 0], minlength=1).tolist())))
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


def _class_map(inspection: Inspection, path: str) -> np.ndarray:
    """Return the class of each pixel, -1 for none, of a mask made smaller."""
    data = inspection.data
    label: Image.Image = Image.open(path)
    if (recoded := inspection.recoding(label)) is not None:
        label = Image.fromarray(recoded.values)
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
