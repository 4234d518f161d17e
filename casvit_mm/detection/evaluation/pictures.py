"""Pictures of a detector's errors: curves, confusion matrix, the worst images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from casvit_mm.datasets.images import read_image
from casvit_mm.detection.evaluation.analysis import (
    FOUND_IOU,
    Analysis,
    ImageComparison,
    confusion_matrix,
    summarise,
    worst_images,
)
from casvit_mm.detection.evaluation.tables import KINDS
from casvit_mm.errors import plain_name
from casvit_mm.io import write_json
from casvit_mm.plotting.confusion import draw_confusion_matrix
from casvit_mm.plotting.figures import legend_name, save_figure

__all__ = ['draw_comparison', 'draw_curves', 'write_analysis']

# Okabe and Ito's palette; kinds that are near each other to colour-blind readers differ in line.
_COLOURS = {
    'correct': '#009E73',
    'missed': '#56B4E9',
    'background': '#D55E00',
    'wrong class': '#CC79A7',
    'poor box': '#F0E442',
    'duplicate': '#E69F00',
}
_STYLES: dict[str, Any] = {
    'correct': '-',
    'missed': (0, (5, 2)),
    'background': '-',
    'wrong class': (0, (1, 1)),
    'poor box': (0, (6, 1.5, 1, 1.5)),
    'duplicate': (0, (2, 1)),
}
_OUTLINE = [withStroke(linewidth=4.5, foreground='0.3')]  # of a line in the legend
_TRUTH, _CROWD = 'white', '#999999'
_MAX_LINES = 8  # classes drawn one by one; of more, the best and the worst
_MAX_LABELS = 40  # boxes per image whose class is written
_PANEL = 6.0  # inches, width of an image


def draw_curves(precision: np.ndarray, classes: list[str], out: Path, title: str) -> None:
    """Draw precision over recall at IoU 0.5, at 0.75, and as the mean of 0.5 to 0.95.

    With more than eight classes the three best and the three worst by AP have a colour; the others
    are grey.

    Args:
        precision: COCO's interpolated precision, (10 IoU thresholds, 101 recalls, classes), -1
            where a class has no ground truth.
        classes: Names.
        out: PNG file to write.
        title: Line above the panels.

    Raises:
        InputError: If the file cannot be written.
    """
    precision = np.where(precision < 0, np.nan, precision)
    known = np.flatnonzero(~np.isnan(precision).any(axis=(0, 1)))
    ap = precision.mean(axis=(0, 1))
    ranked = known[np.argsort(-ap[known], kind='stable')]
    named = ranked if len(ranked) <= _MAX_LINES else np.concatenate([ranked[:3], ranked[-3:]])
    figure = Figure(figsize=(12, 4.6), dpi=100, layout='constrained')
    figure.suptitle(title)
    panels = figure.subplots(1, 3, sharey=True)
    parts = {'IoU 0.5': precision[0], 'IoU 0.75': precision[5], 'mean of IoU 0.5 to 0.95': None}
    recall = np.linspace(0, 1, precision.shape[1])
    for axis, (name, part) in zip(panels, parts.items(), strict=True):
        part = precision.mean(axis=0) if part is None else part
        for k in known:
            axis.plot(recall, part[:, k], color='0.8', linewidth=0.8)
        for number, k in enumerate(named):
            axis.plot(recall, part[:, k], color=colormaps['tab10'](number), linewidth=1.5)
        mean = part[:, known].mean(axis=1) if len(known) else np.full(len(recall), np.nan)
        axis.plot(recall, mean, color='black', linewidth=2.5)
        axis.set(xlabel='recall', xlim=(0, 1), ylim=(0, 1.02))
        axis.set_title(f'{name}: AP {mean.mean():.3f}', fontsize=11)
        axis.grid(alpha=0.3)
    panels[0].set_ylabel('precision (interpolated)')

    lines = [Line2D([], [], color='black', linewidth=2.5)]
    lines += [Line2D([], [], color=colormaps['tab10'](number)) for number in range(len(named))]
    labels = ['mean', *(f'{legend_name(classes[k])} {ap[k]:.3f}' for k in named)]
    if len(named) < len(known):
        lines.append(Line2D([], [], color='0.8'))
        labels.append(f'{len(known) - len(named)} others')
    figure.legend(
        lines, labels, loc='outside right upper', title='AP of class, IoU 0.5 to 0.95', fontsize=9
    )
    save_figure(figure, out)


def draw_comparison(
    pixels: np.ndarray,
    image: ImageComparison,
    categories: dict[int, str],
    out: Path,
    title: str,
) -> None:
    """Draw one image twice: its objects on the left, the detections by outcome on the right.

    Args:
        pixels: (H, W, 3) RGB.
        image: What to draw.
        categories: Class names by category id.
        out: PNG file to write.
        title: The image's name.

    Raises:
        InputError: If the file cannot be written.
    """
    height, width = pixels.shape[:2]
    figure = Figure(
        figsize=(2 * _PANEL, min(max(_PANEL * height / width, 2.5), 12) + 1.3),
        dpi=100,
        layout='constrained',
    )
    figure.suptitle(
        f'{plain_name(title, 80)}: {image.errors.total()} errors, F1 {image.f1:.2f}', fontsize=12
    )
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        axis.imshow(pixels)
        axis.set_axis_off()
        for crowd in image.crowds:
            _box(axis, crowd, _CROWD, style=':')
    left.set_title(f'truth: {len(image.objects)} objects', fontsize=11)
    right.set_title(f'detections: {len(image.detections)}', fontsize=11)
    _draw_boxes(left, right, image, categories)
    counts = {'correct': image.outcomes.count('correct'), **image.errors}
    figure.legend(
        handles=[
            Line2D(
                [],
                [],
                color=colour,
                linestyle=_STYLES[kind],
                linewidth=3,
                path_effects=_OUTLINE,
                label=f'{kind} {counts.get(kind, 0)}',
            )
            for kind, colour in _COLOURS.items()
        ],
        loc='outside lower center',
        ncols=len(_COLOURS),
        handlelength=3,
        frameon=False,
    )
    save_figure(figure, out)


def _draw_boxes(
    left: Axes, right: Axes, image: ImageComparison, categories: dict[int, str]
) -> None:
    """Draw the objects on the left; detections, and the objects that are missed, on the right."""
    categories = {key: plain_name(name, 24) for key, name in categories.items()}
    names = [categories[item['category_id']] for item in image.objects]
    few = max(len(image.objects), len(image.detections)) <= _MAX_LABELS
    line = 1.8 if few else 0.8
    for item, name in zip(image.objects, names, strict=True):
        _box(left, item, _TRUTH, name if few else '', line)
    found = list(zip(image.detections, image.outcomes, image.partners, strict=True))
    # Errors are drawn over what is correct.
    for entry, outcome, partner in sorted(found, key=lambda item: item[1] != 'correct'):
        label = f'{categories[entry["category_id"]]} {entry["score"]:.2f}'
        if outcome == 'wrong class':
            label += f', truth {names[partner]}'
        elif outcome != 'correct':
            label += f', {outcome}'
        thickness = line if outcome == 'correct' else 1.8
        style = _STYLES[outcome]
        _box(right, entry, _COLOURS[outcome], label if few else '', thickness, style)
    for k in image.missed:
        label = f'{names[k]}, missed' if few else ''
        _box(right, image.objects[k], _COLOURS['missed'], label, style=_STYLES['missed'])


def _box(
    axis: Axes,
    entry: dict[str, Any],
    colour: str,
    label: str = '',
    line: float = 1.8,
    style: Any = '-',
) -> None:
    x, y, width, height = entry['bbox']
    # A dark line under the coloured one keeps it visible on any ground.
    for thickness, ink, alpha, dashes in (
        (1.8 * line, 'black', 0.5, '-'),
        (line, colour, 1, style),
    ):
        box = Rectangle((x, y), width, height, fill=False, edgecolor=ink, alpha=alpha)
        box.set(linewidth=thickness, linestyle=dashes)
        axis.add_patch(box)
    if label:
        # Towards the inside where the picture's edge would cut it off.
        right, bottom = axis.get_xlim()[1], axis.get_ylim()[0]
        to_left, below = x > 0.75 * right, y < 0.04 * bottom
        axis.text(
            x + width if to_left else x,
            y,
            label,
            fontsize=7,
            color='black',
            ha='right' if to_left else 'left',
            va='top' if below else 'bottom',
            clip_on=True,
            bbox=dict(facecolor=colour, edgecolor='none', pad=0.8, alpha=0.85),
        )


def write_analysis(
    folder: str | Path,
    analysis: Analysis,
    ground_truth: dict[str, Any],
    curves: dict[str, np.ndarray],
    image_folder: str | Path,
    num_worst: int = 12,
) -> None:
    """Write ``analysis.json`` and the pictures of a detector's errors.

    ``analysis.json`` holds what :func:`summarise` returns, and ``worst_images``. The pictures are
    ``precision_recall_{box,mask}.png``, ``confusion_matrix.png`` and ``worst_01.png`` on; those of
    an earlier analysis are replaced.

    Args:
        folder: Where to write; made.
        analysis: What :func:`analyse` returned.
        ground_truth: COCO's dictionary that was analysed.
        curves: Precision by ``'bbox'`` and ``'segm'``, of shape (10 IoU thresholds, 101 recalls,
            classes), as :class:`casvit_mm.detection.CocoAP` keeps it.
        image_folder: Where ``file_name`` of the images counts from.
        num_worst: Maximum number of images to draw.

    Raises:
        InputError: If a file cannot be written, or an image cannot be read.
    """
    folder = Path(folder)
    for old in folder.glob('worst_[0-9][0-9].png'):
        old.unlink()
    file_names = {image['id']: image['file_name'] for image in ground_truth['images']}
    worst = {
        f'worst_{rank:02d}.png': image
        for rank, image in enumerate(worst_images(analysis, num_worst), 1)
    }
    summary = summarise(analysis)
    summary['worst_images'] = [
        dict(
            picture=picture,
            file_name=file_names[image.image_id],
            image_id=image.image_id,
            f1=image.f1,
            errors=dict(image.errors),
        )
        for picture, image in worst.items()
    ]
    write_json(folder / 'analysis.json', summary)
    names = list(analysis.categories.values())
    for kind, precision in curves.items():
        out = folder / f'precision_recall_{KINDS[kind]}.png'
        draw_curves(precision, names, out, f'Precision and recall, {KINDS[kind]}')
    draw_confusion_matrix(
        confusion_matrix(analysis),
        names,
        folder / 'confusion_matrix.png',
        f'Boxes with score >= {analysis.threshold:.3f}, IoU >= {FOUND_IOU}',
    )
    for picture, image in worst.items():
        name = file_names[image.image_id]
        pixels = read_image(Path(image_folder, name))[..., ::-1]
        draw_comparison(pixels, image, analysis.categories, folder / picture, name)
