"""Pictures of data as a network gets it: images side by side, with what is marked on them.

Knows of no task. What is drawn on an image is the business of a task's own :class:`View`, such as
:class:`casvit_mm.detection.data.browse.ObjectsView`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from casvit_mm.errors import escaped, plain_name
from casvit_mm.plotting.figures import legend_name, save_figure

__all__ = ['Colour', 'View', 'draw_overview', 'draw_row', 'undo_preprocessing']

_PANEL_HEIGHT = 4.0  # inches, at 100 dots each
_CELL = 1.7

Colour: TypeAlias = tuple[float, float, float]  # RGB in 0..1


@dataclass(frozen=True)
class View:
    """An image and what is drawn on it; a task's views add their marks.

    Attributes:
        image: (H, W, 3) RGB, uint8.
        content: (height, width) of the image proper, at the top left; the rest is padding.
        title: What stands above it.
    """

    image: np.ndarray
    content: tuple[int, int]
    title: str

    def draw_marks(self, axis: Axes, small: bool) -> None:
        """Draw what is marked, in pixels of ``image``; ``small`` is for an overview, no text."""

    def legend(self) -> dict[str, Colour]:
        """Return the colours in use, by the name that they stand for."""
        return {}

    def draw(self, axis: Axes, small: bool) -> None:
        """Draw image, padding and marks."""
        height, width = self.image.shape[:2]
        axis.imshow(self.image, extent=(0, width, height, 0))
        # Nothing drawn may widen the picture.
        axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        rows, columns = self.content
        right = Rectangle((columns, 0), width - columns, height)
        below = Rectangle((0, rows), columns, height - rows)
        for padding in (right, below):
            padding.set(hatch='////', facecolor='none', edgecolor=(1, 1, 1, 0.4), linewidth=0)
            axis.add_artist(padding)
        self.draw_marks(axis, small)


def undo_preprocessing(inputs: Tensor, preprocessor: Mapping[str, Any]) -> np.ndarray:
    """Return a network input as a picture for people.

    Args:
        inputs: (3, H, W), as a data preprocessor of MMEngine returned it.
        preprocessor: That preprocessor's config; its mean, std and channel order are undone. mm
            frameworks load images as BGR, so without a conversion the input is BGR.

    Returns:
        (H, W, 3) RGB, uint8.
    """
    image = inputs.detach().cpu().float().permute(1, 2, 0).numpy()
    if preprocessor.get('mean') is not None:
        image = image * np.asarray(preprocessor['std']) + np.asarray(preprocessor['mean'])
    if not any(preprocessor.get(key) for key in ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb')):
        image = image[..., ::-1]
    return np.ascontiguousarray(image.round().clip(0, 255).astype(np.uint8))


def draw_row(views: Sequence[View], path: Path) -> None:
    """Write one picture of several views side by side, all of one height, with a legend."""
    widths = [_PANEL_HEIGHT * min(max(v.image.shape[1] / v.image.shape[0], 0.6), 2) for v in views]
    titles = [
        [
            part
            for line in escaped(view.title).splitlines()
            for part in textwrap.wrap(line, int(width * 12))
        ]
        for view, width in zip(views, widths, strict=True)
    ]
    colours = {name: colour for view in views for name, colour in view.legend().items()}
    columns = min(max(1, len(colours)), int(sum(widths) / 1.8))
    text_height = 0.2 * (max(map(len, titles)) + -(-len(colours) // columns)) + 0.3

    size = (sum(widths) + 0.1 * len(views), _PANEL_HEIGHT + text_height)
    figure = Figure(figsize=size, dpi=100, layout='constrained')
    axes = figure.subplots(1, len(views), squeeze=False, width_ratios=widths)[0]
    for axis, view, title in zip(axes, views, titles, strict=True):
        view.draw(axis, small=False)
        axis.set_anchor('N')
        axis.set_title('\n'.join(title), fontsize=10, loc='left')
    if colours:
        handles = [Patch(color=colour, label=legend_name(name)) for name, colour in colours.items()]
        figure.legend(handles=handles, loc='outside lower center', ncols=columns, fontsize=9)
    save_figure(figure, path)


def draw_overview(rows: Sequence[Sequence[View]], names: Sequence[str], path: Path) -> None:
    """Write one picture of all rows, small and without names of classes.

    Args:
        rows: Views that belong together; all rows of one length.
        names: What stands beside each row.
        path: PNG file.
    """
    per_row = len(rows[0])
    groups = min(len(rows), max(1, 9 // per_row))
    lines = -(-len(rows) // groups)
    # A narrow empty column ends each group.
    widths = ([1.0] * per_row + [0.12]) * groups
    shapes = [view.image.shape for views in rows for view in views]
    height = _CELL * float(np.median([shape[0] / shape[1] for shape in shapes]))
    figure = Figure(figsize=(_CELL * sum(widths), (height + 0.25) * lines), dpi=100)
    figure.set_layout_engine('constrained')
    axes = figure.subplots(lines, len(widths), squeeze=False, width_ratios=widths)
    for axis in axes.flat:
        axis.axis('off')
    for number, (views, name) in enumerate(zip(rows, names, strict=True)):
        line, group = divmod(number, groups)
        cells = axes[line, group * (per_row + 1) :][:per_row]
        for axis, view in zip(cells, views, strict=True):
            view.draw(axis, small=True)
        cells[0].set_title(plain_name(name, 80), fontsize=8, loc='left')
    save_figure(figure, path)
