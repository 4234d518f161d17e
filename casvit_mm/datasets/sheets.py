"""What the pictures of any dataset share: bars, legends, images as training sees them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageOps

from casvit_mm.plotting.figures import save_figure

__all__ = ['TILES', 'add_legend', 'draw_counts', 'read_picture', 'shorten']

_SPLIT_COLOURS = {'train': 'tab:blue', 'val': 'tab:orange', 'test': 'tab:green'}


TILES = 12  # images on a sheet


_PANEL = 30  # classes in a column of the bar chart


_LEGEND = 24  # classes a sheet's legend has room for


def draw_counts(counts: dict[str, np.ndarray], names: list[str], what: str, out: Path) -> Path:
    """Draw bars of how many there are of each class in every split.

    Args:
        counts: Integers ``(classes,)`` by split; those of the first decide the order.
        names: Of the classes.
        what: What is counted, in the plural.
        out: PNG file.
    """
    order = np.argsort(-next(iter(counts.values())), kind='stable')
    panels = np.array_split(order, -(-len(names) // _PANEL))
    height = 1.5 + max(0.28, 0.15 * len(counts)) * max(len(panels[0]), 2)
    figure = Figure(figsize=(8 if len(panels) == 1 else 5 * len(panels), height), dpi=110)
    figure.set_layout_engine('constrained')
    figure.suptitle(f'{what.capitalize()} per class')
    largest = max(int(count.max(initial=1)) for count in counts.values())
    least = min(int(count.min(initial=largest)) for count in counts.values())
    for position, panel in enumerate(panels, 1):
        axis = figure.add_subplot(1, len(panels), position)
        _draw_bars(axis, panel, names, counts)
        axis.set_xlabel(what)
        if largest > 50 * max(1, least):
            axis.set_xscale('symlog')
            axis.xaxis.set_major_formatter('{x:g}')
            axis.set_xlim(0, largest * 3)
        else:
            axis.set_xlim(0, largest * 1.15)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=3)
    return save_figure(figure, out)


def _draw_bars(
    axis: Axes, panel: np.ndarray, names: list[str], counts: dict[str, np.ndarray]
) -> None:
    """Draw the bars of the classes of one panel, the first on top."""
    bar = 0.8 / len(counts)
    for position, (split, count) in enumerate(counts.items()):
        places = -np.arange(len(panel)) + 0.4 - bar * (position + 0.5)
        bars = axis.barh(places, count[panel], bar, label=split, color=_SPLIT_COLOURS[split])
        axis.bar_label(bars, padding=2, fontsize=7)
    axis.set_yticks(-np.arange(len(panel)), [shorten(names[i]) for i in panel])
    axis.set_ylim(-len(panel) + 0.4, 0.6)
    axis.grid(axis='x', alpha=0.3)


def shorten(name: str) -> str:
    """Return a name that fits below a picture, and that matplotlib takes for no formula."""
    name = name.replace('$', r'\$')
    return name if len(name) <= 24 else f'{name[:23]}…'


def read_picture(path: Path) -> np.ndarray | None:
    """Return an image as training sees it, upright; None if it cannot be read."""
    try:
        image = ImageOps.exif_transpose(Image.open(path))
        if image.mode[0] in 'IF':  # 16 bits: stretch to what can be seen
            values = np.asarray(image, dtype=np.float64)
            low, high = values.min(), values.max()
            return np.stack([(values - low) / max(high - low, 1)] * 3, axis=2)
        return np.asarray(image.convert('RGB'))
    except Exception:  # reported as an issue already, whatever the decoder says
        return None


def add_legend(
    figure: Figure, classes: tuple[str, ...], colours: np.ndarray, shown: Counter[int]
) -> None:
    """Add the classes that are shown to the foot of a figure, the most frequent first."""
    frequent = sorted(shown, key=lambda label: -shown[label])
    handles = [Patch(color=colours[i], label=shorten(classes[i])) for i in frequent[:_LEGEND]]
    if len(frequent) > _LEGEND:
        handles.append(Patch(alpha=0, label=f'... {len(frequent) - _LEGEND} more'))
    if handles:
        columns = min(len(handles), max(1, int(figure.get_figwidth() / 1.6)))
        figure.legend(handles=handles, loc='outside lower center', ncols=columns, fontsize=8)
