"""Pictures of a classifier's errors: confusion matrix, and the images it is most wrong about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from casvit_mm.classification.evaluation.analysis import summarise, worst_images
from casvit_mm.classification.evaluation.metric import ClassificationAccuracy
from casvit_mm.datasets.sheets import TILES, read_picture, shorten
from casvit_mm.io import write_json
from casvit_mm.plotting.confusion import draw_confusion_matrix
from casvit_mm.plotting.figures import save_figure

__all__ = ['draw_worst', 'write_analysis']


def draw_worst(metric: ClassificationAccuracy, out: Path) -> Path | None:
    """Draw the images that were taken for a wrong class with the highest probability.

    Args:
        metric: After an evaluation, on rank 0.
        out: PNG file.

    Returns:
        ``out``, or None if no image is wrong or none of the wrong ones can be read.

    Raises:
        InputError: If the file cannot be written.
    """
    worst = worst_images(metric, TILES)
    pictures = [(image, read_picture(Path(image.path))) for image in worst]
    tiles = [(image, picture) for image, picture in pictures if picture is not None]
    if not tiles:
        return None
    columns = min(4, len(tiles))
    rows = -(-len(tiles) // columns)
    figure = Figure(
        figsize=(max(6, 3.2 * columns), 3.6 * rows + 0.6), dpi=110, layout='constrained'
    )
    number = sum(image.predicted != image.truth for image in metric.images)
    figure.suptitle(
        f'{len(tiles)} of {number} wrong images, the most confidently wrong first '
        f'({len(metric.images)} images in all)'
    )
    for position, (image, picture) in enumerate(tiles, 1):
        axis = figure.add_subplot(rows, columns, position)
        axis.imshow(picture)
        axis.set_anchor('N')  # the titles of a row stand on one line
        axis.set_axis_off()
        truth, predicted = (
            shorten(metric.classes[label]) for label in (image.truth, image.predicted)
        )
        axis.set_title(
            f'{shorten(Path(image.path).name)}\n'
            f'truth: {truth} ({image.truth_score:.2f})\n'
            f'predicted: {predicted} ({image.score:.2f})',
            fontsize=9,
        )
    return save_figure(figure, out)


def write_analysis(folder: str | Path, metric: ClassificationAccuracy) -> dict[str, Any]:
    """Write ``analysis.json``, ``confusion_matrix.png`` and, if any image is wrong, ``worst.png``.

    Args:
        folder: Where to write; made. What an earlier analysis has left there is replaced.
        metric: After an evaluation, on rank 0.

    Returns:
        The content of ``analysis.json``, which
        :func:`casvit_mm.classification.evaluation.analysis.summarise` returns.

    Raises:
        InputError: If a file cannot be written.
    """
    folder = Path(folder)
    (folder / 'worst.png').unlink(missing_ok=True)
    summary = summarise(metric)
    write_json(folder / 'analysis.json', summary)
    draw_confusion_matrix(
        metric.confusion_matrix,
        metric.classes,
        folder / 'confusion_matrix.png',
        'Images of a class, in percent of its row',
    )
    draw_worst(metric, folder / 'worst.png')
    return summary
