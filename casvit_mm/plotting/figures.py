"""What the pictures of every task share: PNG files, the figure of a matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from casvit_mm.errors import plain_name
from casvit_mm.io import replacing

__all__ = ['legend_name', 'matrix_figure', 'plain_log_ticks', 'save_figure']


def save_figure(figure: Figure, out: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path; the folder is made.

    Dollar signs are shown: whoever made the data has chosen the names, and nothing is a formula.

    Raises:
        InputError: If the file cannot be written.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # type: ignore[attr-defined]
    with replacing(out, 'wb') as file:
        figure.savefig(file, dpi='figure', format='png')
    return out


def plain_log_ticks(axis: Axis) -> None:
    """Write 20 beside a logarithmic axis, not 2 x 10^1."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(NullFormatter())


def legend_name(name: str) -> str:
    """Return a name for a legend, which leaves out what begins with an underscore."""
    text = plain_name(name, 24)
    return f'\u200b{text}' if text.startswith('_') else text


def matrix_figure(
    share: np.ndarray, texts: np.ndarray, names: list[str], title: str
) -> tuple[Figure, Axes]:
    """Return a figure of a confusion matrix, whose size follows from the number of names.

    Args:
        share: (N, N) shares of the row, 0 to 1, which decide the colours.
        texts: (N, N) strings to write into the cells.
        names: Names of the N rows and columns.
        title: Line above the matrix.
    """
    few = len(names) <= 20
    cell, font = (0.75, 10) if few else (0.24, 7)
    side = max(len(names) * cell, 3)
    heading = max(11, side)
    figure = Figure(
        figsize=(side + 2.6, side + 1.6),
        dpi=110 if few else 160,
        layout=ConstrainedLayoutEngine(h_pad=0.15),  # with less, the title is cut
    )
    axis = figure.add_subplot()
    # A square root makes rare confusions visible beside a full diagonal.
    shown = axis.imshow(share, cmap='Blues', norm=PowerNorm(0.5, vmin=0, vmax=1))
    for row, column in zip(*np.nonzero(texts != ''), strict=True):
        colour = 'white' if share[row, column] > 0.33 else 'black'
        text = texts[row, column]
        axis.text(column, row, text, ha='center', va='center', fontsize=font, color=colour)
    _label_cells(axis, [plain_name(name, 40) for name in names], few)
    axis.xaxis.label.set_fontsize(heading)
    axis.yaxis.label.set_fontsize(heading)
    axis.set_title(title, fontsize=heading)
    bar = figure.colorbar(
        shown, ax=axis, shrink=0.7, aspect=30, pad=0.01, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    )
    bar.ax.set_yticklabels(['0%', '1%', '5%', '10%', '25%', '50%', '100%'], fontsize=0.8 * heading)
    bar.set_label('share of the row', fontsize=heading)
    return figure, axis


def _label_cells(axis: Axes, names: list[str], few: bool) -> None:
    """Name rows and columns and part the cells."""
    ticks = np.arange(len(names))
    axis.set_xticks(
        ticks,
        names,
        rotation=45 if few else 90,
        ha='right' if few else 'center',
        rotation_mode='anchor' if few else 'default',
    )
    axis.set_yticks(ticks, names)
    axis.tick_params(labelsize=10 if few else 9, length=0)
    axis.set_xticks(ticks[1:] - 0.5, minor=True)
    axis.set_yticks(ticks[1:] - 0.5, minor=True)
    axis.tick_params(which='minor', length=0)
    axis.grid(which='minor', color='0.9', linewidth=0.5)
