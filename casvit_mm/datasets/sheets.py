"""What the pictures of any dataset share: bars, legends, images as training sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageOps

from casvit_mm.errors import plain_name
from casvit_mm.plotting.figures import legend_name, save_figure

__all__ = [
    'SPLIT_COLOURS',
    'TILES',
    'add_legend',
    'choose_varied',
    'draw_counts',
    'read_picture',
    'read_tiles',
    'shorten',
    'start_sheet',
    'tile_ratio',
]

SPLIT_COLOURS = {'train': 'tab:blue', 'val': 'tab:orange', 'test': 'tab:green'}
TILES = 12  # images on a sheet

_COLUMNS = 4  # of a sheet
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
    smallest = min(int(count.min(initial=largest)) for count in counts.values())
    for position, panel in enumerate(panels, 1):
        axis = figure.add_subplot(1, len(panels), position)
        _draw_bars(axis, panel, names, counts)
        axis.set_xlabel(what)
        if largest > 50 * max(1, smallest):
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
        bars = axis.barh(places, count[panel], bar, label=split, color=SPLIT_COLOURS[split])
        axis.bar_label(bars, padding=2, fontsize=7)
    axis.set_yticks(-np.arange(len(panel)), [shorten(names[i]) for i in panel])
    axis.set_ylim(-len(panel) + 0.4, 0.6)
    axis.grid(axis='x', alpha=0.3)


def shorten(name: str) -> str:
    """Return a name that fits below a picture."""
    return plain_name(name, 24)


def read_picture(path: Path) -> np.ndarray | None:
    """Return an image for people to look at, upright; None if it cannot be read.

    Unlike :func:`casvit_mm.datasets.images.read_image` it stretches 16 bits to what can be seen,
    and leaves it to the checks to say what is wrong with a file.

    Returns:
        RGB ``(H, W, 3)``, uint8, or float from 0 to 1 where the file has more than 8 bits.
    """
    try:
        image = ImageOps.exif_transpose(Image.open(path))
        if image.mode[0] in 'IF':  # more than 8 bits
            values = np.asarray(image, dtype=np.float64)
            low, high = values.min(), values.max()
            return np.stack([(values - low) / max(high - low, 1)] * 3, axis=2)
        return np.asarray(image.convert('RGB'))
    except Exception:  # an issue of its own already, whatever the decoder says
        return None


def choose_varied(classes: Mapping[int, Set[int]]) -> list[int]:
    """Choose images that show as many classes as possible.

    Args:
        classes: Classes of each image, by its position, in random order.

    Returns:
        Positions in an order that shows new classes early; twice as many as a sheet has room for,
        since some images may not be readable.
    """
    left = dict(classes)
    seen: set[int] = set()
    chosen: list[int] = []
    while left and len(chosen) < 2 * TILES:
        best = max(left, key=lambda i: len(left[i] - seen))
        seen |= left.pop(best)
        chosen.append(best)
    return chosen


def read_tiles(paths: Iterable[tuple[int, Path]]) -> list[tuple[int, np.ndarray]]:
    """Read images, given by position and path, until a sheet is full; skip unreadable ones."""
    tiles: list[tuple[int, np.ndarray]] = []
    for i, path in paths:
        picture = read_picture(path)
        if picture is not None:
            tiles.append((i, picture))
        if len(tiles) == TILES:
            break
    return tiles


def tile_ratio(tiles: Sequence[tuple[int, np.ndarray]]) -> float:
    """Return the median of height / width, within what a sheet can take."""
    ratio = np.median([picture.shape[0] / picture.shape[1] for _, picture in tiles])
    return float(np.clip(ratio, 0.4, 1.6))


def start_sheet(number: int, width: float, height: float, rest: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``number`` tiles side by side, and their axes, which show no ticks.

    Args:
        number: Images to show.
        width: Of a tile, in inches.
        height: Of a tile with its title, in inches.
        rest: Height of what is above and below the tiles, in inches.
    """
    columns = min(_COLUMNS, number)
    rows = -(-number // columns)
    size = (max(6, width * columns), height * rows + rest)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    axes = [figure.add_subplot(rows, columns, position + 1) for position in range(number)]
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def add_legend(
    figure: Figure, classes: tuple[str, ...], colours: np.ndarray, shown: Counter[int]
) -> None:
    """Add the classes that are shown to the foot of a figure, the most frequent first."""
    frequent = sorted(shown, key=lambda label: -shown[label])
    handles = [Patch(color=colours[i], label=legend_name(classes[i])) for i in frequent[:_LEGEND]]
    if len(frequent) > _LEGEND:
        handles.append(Patch(alpha=0, label=f'... {len(frequent) - _LEGEND} more'))
    if handles:
        columns = min(len(handles), max(1, int(figure.get_figwidth() / 1.6)))
        figure.legend(handles=handles, loc='outside lower center', ncols=columns, fontsize=8)
