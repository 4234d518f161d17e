"""Sheets of pictures: rows and columns of panels with titles and a scale of colours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from casvit_mm.plotting.figures import save_figure
from casvit_mm.visualization.gates import StageGates
from casvit_mm.visualization.receptive_fields import ReceptiveField

__all__ = [
    'Panel',
    'draw_gates',
    'draw_panels',
    'draw_receptive_fields',
    'overlay',
    'scaled',
    'tiled',
]

_COLOURS = 'turbo'
_CELL = 2.4  # inches that a panel is wide
_HEAT_SHARE = 0.5  # of the colours in an overlay; the rest is the image
_SIDES = {'query': 'tab:blue', 'key': 'tab:orange'}


@dataclass(frozen=True)
class Panel:
    """A picture with a title.

    Attributes:
        title: Above it, broken where it is long.
        pixels: RGB ``(h, w, 3)``, uint8 or from 0 to 1.
        boxes: To draw, ``(N, 4)`` corners in pixels.
    """

    title: str
    pixels: np.ndarray
    boxes: np.ndarray | None = None


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colour an image by a heat map of its size.

    Args:
        pixels: RGB, uint8 ``(h, w, 3)``.
        heat: 0 to 1, ``(h, w)``.

    Returns:
        RGB from 0 to 1, ``(h, w, 3)``.
    """
    colours = colormaps[_COLOURS](heat)[..., :3]
    return _HEAT_SHARE * colours + (1 - _HEAT_SHARE) * pixels / 255


def scaled(values: np.ndarray) -> np.ndarray:
    """Return values from 0, the smallest, to 1, the largest."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low + 1e-12)


def tiled(values: np.ndarray, stride: int, pixels: np.ndarray) -> np.ndarray:
    """Return a map at the size of an image; each position keeps its square, as sharp as it is.

    Args:
        values: ``(h, w)`` or ``(h, w, 3)``.
        stride: Pixels per position.
        pixels: The image, ``(H, W, 3)``.
    """
    large = values.repeat(stride, 0).repeat(stride, 1)
    return large[: pixels.shape[0], : pixels.shape[1]]


def draw_panels(
    rows: Sequence[Sequence[Panel | None]], out: Path, title: str, scale: str = ''
) -> Path:
    """Draw rows of panels of equal number.

    Args:
        rows: Panels from the top left; None leaves a place empty.
        out: PNG file.
        title: Above all.
        scale: What the colours of overlays mean, beside a bar from low to high; none if empty.

    Raises:
        InputError: If the file cannot be written.
    """
    ratio = max(p.pixels.shape[0] / p.pixels.shape[1] for row in rows for p in row if p)
    lines = [max(len(_lines(p.title)) for p in row if p) for row in rows]
    columns = len(rows[0])
    figure = Figure(
        figsize=(
            columns * _CELL + 0.8,
            len(rows) * _CELL * min(ratio, 3) + 0.17 * sum(lines) + 0.6,
        ),
        dpi=100,
        layout='constrained',
    )
    figure.suptitle('\n'.join(textwrap.wrap(title, 32 * columns)), fontsize=11)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis, panel in zip(axes.flat, (p for row in rows for p in row), strict=True):
        axis.set_axis_off()
        if panel is None:
            continue
        axis.imshow(panel.pixels)
        axis.set_title('\n'.join(_lines(panel.title)), fontsize=9)
        for x1, y1, x2, y2 in () if panel.boxes is None else panel.boxes:
            axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color='white'))
    if scale:
        _add_scale(figure, axes, scale)
    return save_figure(figure, out)


def _lines(title: str) -> list[str]:
    return [part for line in title.split('\n') for part in textwrap.wrap(line, 34) or ['']]


def _add_scale(figure: Figure, axes: np.ndarray, text: str) -> None:
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), _COLOURS),
        ax=axes,
        shrink=min(1.0, 2.5 / len(axes)) * 0.8,
        aspect=25,
        ticks=[0, 1],
    )
    bar.ax.set_yticklabels(['low', 'high'], fontsize=9)
    bar.set_label(text, fontsize=9)


def draw_gates(pixels: np.ndarray, gates: Sequence[StageGates], out: Path, title: str) -> Path:
    """Draw the spatial gates of each stage over the image, and its channel gates as steps.

    Args:
        pixels: RGB, uint8 ``(H, W, 3)``.
        gates: Of each stage.
        out: PNG file.
        title: Above all.

    Raises:
        InputError: If the file cannot be written.
    """
    height = _CELL * min(pixels.shape[0] / pixels.shape[1], 2)
    figure = Figure(
        figsize=(2 * _CELL + 5.2, len(gates) * (height + 0.35) + 0.6),
        dpi=100,
        layout='constrained',
    )
    figure.suptitle(title, fontsize=11)
    grey = pixels.mean(2, keepdims=True)  # its colours would mix with those of the gates
    axes = figure.subplots(len(gates), 3, squeeze=False, width_ratios=[1, 1, 1.7])
    for row, stage in zip(axes, gates, strict=True):
        for axis, side in zip(row, _SIDES, strict=False):
            axis.set_axis_off()
            if side in stage.spatial:
                values = stage.spatial[side]
                heat = tiled(scaled(values), stage.stride, pixels)
                axis.imshow(overlay(grey, heat))
                span = f'{values.min():.2f} to {values.max():.2f}'
                axis.set_title(f'stage {stage.number}, {side}: {span}', fontsize=9)
        _draw_channels(row[2], stage)
    _add_scale(figure, axes, 'spatial gate, each from its smallest to its largest')
    return save_figure(figure, out)


def _draw_channels(axis: Axes, stage: StageGates) -> None:
    """Draw what each channel is multiplied by, upwards for queries and downwards for keys."""
    if not stage.channel:
        axis.set_axis_off()
        return
    for side, sign in (('query', 1), ('key', -1)):
        values = stage.channel[side]
        axis.stairs(sign * values, fill=True, color=_SIDES[side], label=side)
    axis.axhline(0, color='black', linewidth=0.6)
    axis.set(xlim=(0, len(values)), ylim=(-1.05, 1.05))
    axis.set_yticks([-1, -0.5, 0, 0.5, 1], ['1', '0.5', '0', '0.5', '1'], fontsize=8)
    axis.tick_params(axis='x', labelsize=8)
    axis.set_title(f'stage {stage.number}: channel gate of {len(values)} channels', fontsize=9)
    axis.legend(loc='upper right', fontsize=8, ncols=2)


def draw_receptive_fields(
    rows: Sequence[tuple[str, Sequence[ReceptiveField]]], out: Path, title: str
) -> Path:
    """Draw the effective receptive fields of models, one row each, with logarithmic colours.

    Args:
        rows: Name of a model, and its fields; those of fewer stages leave places empty.
        out: PNG file.
        title: Above all.

    Raises:
        InputError: If the file cannot be written.
    """
    columns = max(len(fields) for _, fields in rows)
    ratio = max(f.gradient.shape[0] / f.gradient.shape[1] for _, fields in rows for f in fields)
    figure = Figure(
        figsize=(columns * _CELL + 1.0, len(rows) * (_CELL * min(ratio, 3) + 0.75) + 0.6),
        dpi=100,
        layout='constrained',
    )
    figure.suptitle('\n'.join(textwrap.wrap(title, 32 * columns)), fontsize=11)
    norm = LogNorm(1e-4, 1, clip=True)
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, (name, fields) in zip(parts, rows, strict=True):
        part.suptitle(name, fontsize=9, x=0.01, ha='left')
        axes = part.subplots(1, columns, squeeze=False)[0]
        for axis in axes:
            axis.set_axis_off()
        for axis, field in zip(axes, fields, strict=False):
            largest = field.gradient.max() or 1.0
            axis.imshow(field.gradient / largest, norm=norm, cmap='inferno')
            sides = ', '.join(f'{share:.0%}: {side}' for share, side in field.sides.items())
            where = f'stage {field.stage.number}, stride {field.stage.stride}'
            axis.set_title(f'{where}\n{sides} px', fontsize=9)
        bar = part.colorbar(ScalarMappable(norm, 'inferno'), ax=axes, shrink=0.9, aspect=20)
        bar.set_label('gradient, largest = 1', fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return save_figure(figure, out)
