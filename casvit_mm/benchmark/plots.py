"""Pictures of a run: accuracy over latency, cost over image size."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from casvit_mm.benchmark.peers import OURS, PEERS
from casvit_mm.benchmark.scaling import FITTED_FROM
from casvit_mm.plotting.figures import plain_log_ticks, save_figure

__all__ = ['draw_accuracy', 'draw_growth']

_OURS = '#D55E00'
# Of the other families, none near ours; neighbours also differ in their markers.
_COLOURS = (
    '#0072B2',
    '#CC79A7',
    '#009E73',
    '#7F7F7F',
    '#56B4E9',
    '#8C564B',
    '#9467BD',
    '#BCBD22',
    '#17BECF',
    '#1B2A6B',
    '#2CA02C',
    '#E377C2',
)
_MARKERS = 'osD^v'


def draw_accuracy(rows: Sequence[dict[str, Any]], out: Path, title: str) -> Path:
    """Draw published top-1 over measured latency, one panel per form, batch and size.

    Args:
        rows: Of :func:`casvit_mm.benchmark.comparison.compare`; those without top-1 are left out.
        out: PNG file to write.
        title: Line above the panels.

    Raises:
        InputError: If the file cannot be written.
    """
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row['top1'] is not None:
            name = f'{row["form"]}, batch {row["batch"]}, {row["width"]}x{row["height"]}'
            panels.setdefault(name, []).append(row)
    columns = min(len(panels), 2)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(8.5 * columns, 6.2 * lines), dpi=110, layout='constrained')
    figure.suptitle(title, fontsize=11)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, (name, found) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, found)
        axis.set_title(name, fontsize=11)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return save_figure(figure, out)


def _draw_panel(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(_family(row['model']), []).append(row)
    number = 0
    for family, found in families.items():
        found = sorted(found, key=lambda row: row['top1'])
        x, y = ([row['ms']['p50'] for row in found], [row['top1'] for row in found])
        ours = family == 'CAS-ViT'
        colour = _OURS if ours else _COLOURS[number % len(_COLOURS)]
        style: dict[str, Any] = dict(linewidth=1.0, markersize=4.5, alpha=0.8)
        marker = _MARKERS[number % len(_MARKERS)]
        if ours:
            style, marker = dict(linewidth=2.5, markersize=10, zorder=3), '*'
        number += not ours
        axis.plot(x, y, label=family, color=colour, marker=marker, **style)
        for row in found:
            axis.annotate(
                _short(row['model']),
                (row['ms']['p50'], row['top1']),
                xytext=(-5, 6) if ours else (4, -8),
                ha='right' if ours else 'left',
                textcoords='offset points',
                fontsize=10 if ours else 6.5,
                fontweight='bold' if ours else 'normal',
                color=colour,
            )
    axis.set(
        xscale='log', xlabel='latency, ms per call (log)', ylabel='published ImageNet top-1, %'
    )
    plain_log_ticks(axis.xaxis)
    axis.margins(x=0.12, y=0.08)
    axis.grid(alpha=0.3, which='both')
    axis.legend(fontsize=8, loc='lower right', ncols=2)


def _family(model: str) -> str:
    if model in OURS:
        return 'CAS-ViT'
    return PEERS[model].family if model in PEERS else model


def _short(model: str) -> str:
    """Return what tells a model from others of its family."""
    if model in OURS:
        return model.removeprefix('casvit_').upper()
    if model not in PEERS:
        return model
    size = model.partition('_')[2] or re.sub(r'\D', '', model)
    size = re.sub(r'(?<=\d)_(?=\d)', '.', size).replace('_', '-')
    return size.upper() if (len(size) < 5 and not size.isalpha()) or len(size) == 1 else size


def draw_growth(curves: Sequence[dict[str, Any]], out: Path) -> Path:
    """Draw time and memory over the number of pixels, both axes logarithmic.

    Args:
        curves: Of :func:`casvit_mm.benchmark.scaling.growth`.
        out: PNG file to write.

    Raises:
        InputError: If the file cannot be written.
    """
    figure = Figure(figsize=(12, 5), dpi=110, layout='constrained')
    panels = figure.subplots(1, 2)
    kinds = (('time_exponent', 'time, ms per call'), ('memory_exponent', 'memory of a call, MiB'))
    for axis, (key, label) in zip(panels, kinds, strict=True):
        lines = [_points(curve, key) for curve in curves]
        for number, (curve, points) in enumerate(zip(curves, lines, strict=True)):
            if points:
                name = f'{curve["model"]} {curve["form"]}: pixels$^{{{curve[key]:.2f}}}$'
                colour = colormaps['tab10'](number)
                axis.plot(*zip(*points, strict=True), marker='o', color=colour, label=name)
        known = [points for points in lines if points]
        if known:
            _draw_slope(axis, known[0])
        axis.set(xscale='log', yscale='log', xlabel='image size, px', ylabel=label)
        sizes = sorted({size for curve in curves for size in map(tuple, curve['sizes'])})
        axis.set_xticks([h * w for h, w in sizes], [_size(h, w) for h, w in sizes], fontsize=9)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axis.grid(alpha=0.3)
        if known:
            axis.legend(fontsize=9)
    return save_figure(figure, out)


def _points(curve: dict[str, Any], key: str) -> list[tuple[float, float]]:
    """Return pixels and milliseconds, or MiB; nothing where an engine does not tell those."""
    if key == 'time_exponent':
        values = [ms['p50'] for ms in curve['ms']]
    else:
        values = [count / 2**20 for count in curve['bytes'] or []]
    areas = [height * width for height, width in curve['sizes'][: len(values)]]
    return sorted(zip(areas, values, strict=True))


def _draw_slope(axis: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Draw what linear growth from 512 px on would be."""
    known = [point for point in points if point[0] >= FITTED_FROM**2]
    (first, value), last = known[0], known[-1][0]
    axis.plot(
        [first, last],
        [value, value * last / first],
        color='0.4',
        linestyle='--',
        linewidth=1,
        label='linear, from 512 px on',
    )


def _size(height: int, width: int) -> str:
    return str(width) if height == width else f'{width}x{height}'
