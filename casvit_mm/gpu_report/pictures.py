"""Pictures of a report: how many times faster each form is, and stages below the roofline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from casvit_mm.plotting.figures import plain_log_ticks, save_figure

__all__ = ['draw_forms', 'draw_rooflines']

_COLUMNS = 3
_BAR, _REACHED = '#7F9FBF', '#D55E00'


def draw_forms(rows: Sequence[dict[str, Any]], aim: float, title: str, out: Path) -> Path:
    """Draw how many times faster each form is, a panel per model and batch, with the aim as a line.

    Args:
        rows: Of :func:`casvit_mm.benchmark.comparison.compare`.
        aim: Times as fast as the baseline.
        title: Line above the panels.
        out: PNG file to write.

    Raises:
        InputError: If the file cannot be written.
    """
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = f'{row["model"]}, batch {row["batch"]}, {row["width"]}x{row["height"]}'
        panels.setdefault(name, []).append(row)
    columns = min(len(panels), _COLUMNS)
    lines = math.ceil(len(panels) / columns)
    most = max(len(found) for found in panels.values())
    size = (6.2 * columns, (1.2 + 0.36 * most) * lines)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    figure.suptitle(f'{title}: times as fast as the first form; dashed: the aim', fontsize=11)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, (name, found) in zip(axes, panels.items(), strict=False):
        _draw_bars(axis, found, aim)
        axis.set_title(name, fontsize=10)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return save_figure(figure, out)


def _draw_bars(axis: Axes, rows: Sequence[dict[str, Any]], aim: float) -> None:
    faster = [row['faster'] for row in rows]
    medians = [one['median'] for one in faster]
    around = [
        [one['median'] - one['q1'] for one in faster],
        [one['q3'] - one['median'] for one in faster],
    ]
    colours = [_REACHED if value >= aim else _BAR for value in medians]
    places = range(len(rows))
    axis.barh(places, medians, xerr=around, color=colours, ecolor='0.3', capsize=2)
    axis.set_yticks(places, [row['form'] for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(aim, color='0.2', linestyle='--', linewidth=1)
    axis.set_xlim(0, 1.5 * max(aim, *(one['q3'] for one in faster)))
    for place, row, one in zip(places, rows, faster, strict=True):
        text = f' {one["median"]:.2f}   {row["ms"]["p50"]:.3g} ms'
        behind = dict(facecolor='white', edgecolor='none', alpha=0.85, pad=0.5)  # the dashed line
        axis.text(one['q3'], place, text, va='center', fontsize=8, bbox=behind)


def draw_rooflines(lines: Sequence[dict[str, Any]], title: str, out: Path) -> Path:
    """Draw multiply-adds per second over those per byte, below what was measured as the limits.

    Args:
        lines: Of :func:`casvit_mm.benchmark.roofline.rooflines`; a panel each.
        title: Line above the panels.
        out: PNG file to write.

    Raises:
        InputError: If the file cannot be written.
    """
    columns = min(len(lines), 2)
    rows = math.ceil(len(lines) / columns)
    figure = Figure(figsize=(7 * columns, 4.8 * rows), dpi=110, layout='constrained')
    figure.suptitle(title, fontsize=11)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, line in zip(axes, lines, strict=False):
        _draw_roofline(axis, line)
    for axis in axes[len(lines) :]:
        axis.set_visible(False)
    return save_figure(figure, out)


def _draw_roofline(axis: Axes, line: dict[str, Any]) -> None:
    pieces = [*line['pieces'], *line['mixers']]
    intensities = [row['multiply_adds'] / row['bytes'] for row in pieces]
    ridge = line['peak'] / line['bandwidth']
    low, high = 0.5 * min(*intensities, ridge), 2 * max(*intensities, ridge)
    roof = [low * line['bandwidth'] / 1e12, line['peak'] / 1e12, line['peak'] / 1e12]
    axis.plot([low, ridge, high], roof, color='0.2', linewidth=1.5, label='measured limits')
    for number, (row, intensity) in enumerate(zip(pieces, intensities, strict=True)):
        is_mixer = number >= len(line['pieces'])
        speed = row['multiply_adds'] / row['ms'] / 1e9  # per ms -> T per s
        axis.plot(
            [intensity],
            [speed],
            linestyle='none',
            marker='*' if is_mixer else 'o',
            markersize=11 if is_mixer else 7,
            color=colormaps['tab10'](number % 10),
            label=f'{row["name"]}: {max(row["of_bandwidth"], row["of_peak"]):.0%}',
        )
    axis.set(xscale='log', yscale='log', xlabel='multiply-adds per byte that must move')
    axis.set_ylabel('T multiply-adds per second')
    plain_log_ticks(axis.xaxis)
    plain_log_ticks(axis.yaxis)
    axis.set_title(f'{line["model"]} {line["form"]}, batch {line["batch"]}', fontsize=10)
    axis.grid(alpha=0.3, which='both')
    axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), title='of the nearer limit')
