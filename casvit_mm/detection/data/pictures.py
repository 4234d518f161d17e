"""Pictures of a detection dataset: classes, sizes, and samples with their annotations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from casvit_mm.datasets.formats.coco_values import is_polygon
from casvit_mm.datasets.formats.packed import plain_outline
from casvit_mm.datasets.formats.rle import find_rle_fault
from casvit_mm.datasets.object_sources import LoadedSplit
from casvit_mm.datasets.sheets import (
    SPLIT_COLOURS,
    add_legend,
    choose_varied,
    draw_counts,
    read_tiles,
    shorten,
    start_sheet,
)
from casvit_mm.deploy.canvas import distinct_colours
from casvit_mm.detection.data.anchors import AnchorSetup
from casvit_mm.detection.data.objects import Objects
from casvit_mm.plotting.figures import save_figure

__all__ = ['Marks', 'draw_classes', 'draw_samples', 'draw_sizes']

_POINTS = 5000  # per split in the scatter; more only darken it
_NAMED = 8  # classes up to which colours tell them apart; beyond, boxes carry names


@dataclass(frozen=True)
class Marks:
    """What to point at in the images of a split.

    Attributes:
        texts: What was found, by position in the list of images.
        objects: Positions in the list of annotations to draw in colour, by position in the list of
            images; an image that is not there has all its objects in colour.
    """

    texts: dict[int, str]
    objects: dict[int, set[int]]


def draw_classes(objects: dict[str, Objects], out: Path) -> Path:
    """Draw how many objects of each class every split holds, crowds left out."""
    names = list(dict.fromkeys(name for split in objects.values() for name in split.classes))
    counts = {split: _counts(found, names) for split, found in objects.items()}
    return draw_counts(counts, names, 'objects', out)


def _counts(objects: Objects, names: list[str]) -> np.ndarray:
    count = np.bincount(objects.label[~objects.crowd], minlength=len(objects.classes))
    found = dict(zip(objects.classes, count.tolist(), strict=True))
    return np.array([found.get(name, 0) for name in names])


def draw_sizes(
    boxes: dict[str, np.ndarray],
    anchors: AnchorSetup | None,
    scale: tuple[int, int] | None,
    out: Path,
) -> Path:
    """Draw box widths and heights, with the anchors that must match them.

    Args:
        boxes: x, y, width and height in pixels of the scaled images, ``(N, 4)`` by split.
        anchors: Anchors of the config; None if it has none.
        scale: Limits that images are scaled into, for the title.
        out: PNG file.
    """
    figure = Figure(figsize=(8, 7), dpi=110, layout='constrained')
    axis = figure.add_subplot()
    rng = np.random.default_rng(0)
    for split, found in boxes.items():
        some = found[rng.permutation(len(found))[:_POINTS]]
        label = f'{split}: {len(found)} boxes'
        if len(some) < len(found):
            label += f', {len(some)} drawn'
        colour = SPLIT_COLOURS[split]
        axis.scatter(
            some[:, 2], some[:, 3], s=8, alpha=0.35, label=label, color=colour, linewidths=0
        )
    sides = np.concatenate([found[:, 2:] for found in boxes.values()])
    low, high = sides.min(), sides.max()
    if anchors is not None:
        label = f'{len(anchors.sizes)} anchors'
        axis.scatter(
            anchors.sizes[:, 0],
            anchors.sizes[:, 1],
            marker='+',
            s=70,
            color='black',
            label=label,
            linewidths=1.2,
        )
        low, high = min(low, anchors.sizes.min()), max(high, anchors.sizes.max())
    low, high = low / 1.3, high * 1.3
    line = np.array([low, high])
    for side, style in ((32, ':'), (96, '--')):
        label = f'area of {side} x {side} px'
        axis.plot(line, side**2 / line, style, color='tab:red', label=label, linewidth=1)
    axis.set(xscale='log', yscale='log', xlim=(low, high), ylim=(low, high), aspect='equal')
    axis.set(xlabel='box width in px', ylabel='box height in px')
    axis.set_title(f'Boxes in images scaled into {scale[0]} x {scale[1]}' if scale else 'Boxes')
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_formatter('{x:g}')
    axis.grid(alpha=0.3)
    legend = axis.legend(loc='upper left', fontsize=9)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return save_figure(figure, out)


def draw_samples(
    split: LoadedSplit,
    objects: Objects,
    title: str,
    out: Path,
    marks: Marks | None = None,
) -> Path | None:
    """Draw up to twelve images with boxes, masks and a legend of classes.

    Args:
        split: Annotations and image folder.
        objects: Its objects.
        title: Line above the sheet.
        out: PNG file.
        marks: The images to draw and what to point at in them. None draws images that show as many
            classes as possible.

    Returns:
        ``out``, or None if no image can be drawn.
    """
    images = split.content['images']
    chosen = _choose(objects) if marks is None else marks.texts
    tiles = read_tiles((i, split.images / images[i]['file_name']) for i in chosen)
    if not tiles:
        return None
    figure, axes = start_sheet(len(tiles), width=3.4, height=3.3, rest=1)
    figure.suptitle(title)
    colours = np.array(distinct_colours(len(objects.classes))) / 255
    shown: Counter[int] = Counter()
    for axis, (i, picture) in zip(axes, tiles, strict=True):
        axis.imshow(picture)
        name = shorten(Path(images[i]['file_name']).name)
        axis.set_title(name if marks is None else f'{name}\n{marks.texts[i]}', fontsize=8)
        rows_here = np.flatnonzero(objects.image == i)
        if marks is not None and i in marks.objects:
            pointed = np.isin(objects.index[rows_here], list(marks.objects[i]))
            _draw_others(axis, objects.box[rows_here[~pointed]])
            rows_here = rows_here[pointed]
        _draw_objects(axis, rows_here, split.content, objects, colours)
        shown.update(set(objects.label[rows_here].tolist()))
    add_legend(figure, objects.classes, colours, shown)
    return save_figure(figure, out)


def _choose(objects: Objects) -> list[int]:
    """Return positions of images in an order that shows new classes early."""
    rng = np.random.default_rng(0)
    order = rng.permutation(np.unique(objects.image))[:2000]
    labels = {i: set[int]() for i in order.tolist()}
    for i, label in zip(objects.image.tolist(), objects.label.tolist(), strict=True):
        if i in labels:
            labels[i].add(label)
    empty = np.setdiff1d(objects.images, objects.image)
    return choose_varied(labels) or empty.tolist()


def _draw_others(axis: Axes, boxes: np.ndarray) -> None:
    for x, y, w, h in boxes:
        axis.add_patch(Rectangle((x, y), w, h, fill=False, color='0.6', linewidth=0.6))


def _draw_objects(
    axis: Axes, rows: np.ndarray, content: dict[str, Any], objects: Objects, colours: np.ndarray
) -> None:
    """Draw objects in the colour of their class, with its name where there are many classes."""
    for row in rows:
        colour = colours[objects.label[row]]
        x, y, w, h = objects.box[row]
        style = ':' if objects.crowd[row] else '-'
        box = Rectangle((x, y), w, h, fill=False, color=colour, linewidth=1.2, linestyle=style)
        axis.add_patch(box)
        annotation = content['annotations'][objects.index[row]]
        segmentation = plain_outline(annotation.get('segmentation'))
        if isinstance(segmentation, list):
            for polygon in filter(is_polygon, segmentation):
                points = np.reshape(polygon, (-1, 2))
                axis.add_patch(Polygon(points, color=colour, alpha=0.35, linewidth=0))
        elif isinstance(segmentation, dict):
            mask = _decode(segmentation, objects.size[row])
            if mask is not None and mask.any():
                axis.contour(mask, levels=[0.5], colors=[colour], linewidths=0.8)
    if len(objects.classes) > _NAMED:
        largest = rows[np.argsort(-objects.box[rows, 2:].prod(axis=1))[:_NAMED]]
        for row in largest:
            x, y = np.clip(objects.box[row, :2], 0, objects.size[row])
            text = shorten(objects.classes[objects.label[row]])
            ground = dict(facecolor=colours[objects.label[row]], pad=0.6, linewidth=0, alpha=0.8)
            # Above its box, but for those that begin at the edge.
            place = 'top' if y < 0.06 * objects.size[row][1] else 'bottom'
            axis.text(x, y, text, fontsize=5, va=place, bbox=ground, clip_on=True)


def _decode(rle: dict[str, Any], size: np.ndarray) -> np.ndarray | None:
    from pycocotools import mask as coco_mask

    width, height = (int(side) for side in size)
    if find_rle_fault(rle, (width, height)):
        return None
    encoded = coco_mask.frPyObjects(rle, height, width) if isinstance(rle['counts'], list) else rle
    return coco_mask.decode(encoded)
