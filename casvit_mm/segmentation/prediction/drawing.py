"""Pictures of a segmentation: image, truth and prediction side by side, and what colours mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from casvit_mm.deploy.canvas import blend, distinct_colours, fit_side, load_font, paint_labels
from casvit_mm.errors import plain_name
from casvit_mm.segmentation.evaluation.counts import class_rates, count_pixels, mean_known

__all__ = ['draw_segmentation', 'paint_classes']

_MIN_SIDE, _MAX_SIDE = 400, 1600  # of a panel's longer side, in pixels
_SWATCH = 64  # pixels; patches of the legend are cut from squares of this side
_GROUND = (32, 32, 32)


def draw_segmentation(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    classes: Sequence[str],
    title: str,
    palette: Sequence[Sequence[int]] | None = None,
    ignore_index: int = 255,
) -> np.ndarray:
    """Draw an image, its truth and its prediction side by side, above a legend.

    Panels have the image's size; one whose longer side is below 400 px is enlarged by a whole
    factor, one above 1600 px is reduced to that. The legend names the classes that occur, by
    falling number of pixels, and the IoU of each in this image. Ignored pixels are striped.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        truth: Class numbers, ``(H, W)``.
        prediction: The same.
        classes: All class names.
        title: Line above the panels, e.g. the image's name.
        palette: RGB colour of each class, 0 to 255; colours of our own if None.
        ignore_index: Label of the pixels that are not evaluated.

    Returns:
        BGR pixels, uint8 ``(h, w, 3)``.

    Raises:
        InputError: If truth and prediction differ in size or hold a number that is no class.
    """
    truth, prediction = truth.astype(np.int64), prediction.astype(np.int64)
    counts = count_pixels(
        torch.from_numpy(truth), torch.from_numpy(prediction), len(classes), ignore_index
    ).numpy()
    iou, right = class_rates(counts)[0], counts.trace() / max(counts.sum(), 1)
    colours = np.array(palette or distinct_colours(len(classes)), np.uint8)
    pixels = fit_side(image, _MIN_SIDE, _MAX_SIDE)[..., ::-1]
    panels = {
        'image': pixels,
        'truth': paint_classes(pixels, truth, colours, ignore_index),
        f'prediction: mIoU {mean_known(iou):.3f}, {right:.1%} of the pixels right': paint_classes(
            pixels, prediction, colours, ignore_index
        ),
    }
    legend = [
        (f'{plain_name(classes[k], 40)}: {iou[k]:.2f}'.replace(': nan', ': -'), _swatch(colours[k]))
        for k in _occurring(truth, prediction, len(classes), ignore_index)
    ]
    if (truth == ignore_index).any():
        legend.append(('ignored', _stripes(_SWATCH, _SWATCH)))
    return np.asarray(_composed(panels, legend, plain_name(title)))[..., ::-1]


def paint_classes(
    pixels: np.ndarray, labels: np.ndarray, colours: np.ndarray, ignore_index: int
) -> np.ndarray:
    """Return a segmentation mask as a picture: class colours over the image in grey.

    Args:
        pixels: RGB, uint8 ``(H, W, 3)``.
        labels: Class numbers, ``(h, w)``; brought to the size of the image.
        colours: RGB of each class, uint8 ``(classes, 3)``.
        ignore_index: Number of the pixels that are striped.

    Returns:
        RGB, uint8 ``(H, W, 3)``.
    """
    height, width = pixels.shape[:2]
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    labels = labels[rows[:, None], columns]
    ignored = labels == ignore_index
    painted = paint_labels(pixels, np.where(ignored, 0, labels), colours)
    painted[ignored] = _stripes(height, width)[ignored]
    return painted


def _swatch(colour: np.ndarray) -> np.ndarray:
    """Return a square of a class colour as it looks over a grey of medium brightness."""
    return blend(np.tile(colour, (_SWATCH, _SWATCH, 1)), np.full((_SWATCH, _SWATCH), 110))


def _stripes(height: int, width: int) -> np.ndarray:
    """Return the RGB pattern ``(H, W, 3)`` of what is ignored, which no class colour resembles."""
    y, x = np.ogrid[:height, :width]
    return np.where(((y + x) // 6 % 2)[..., None], 210, 60).astype(np.uint8).repeat(3, axis=2)


def _occurring(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_index: int
) -> np.ndarray:
    """Return the numbers of the classes in either mask, the largest first."""
    sizes = np.bincount(prediction.ravel(), minlength=num_classes)
    sizes += np.bincount(truth[truth != ignore_index], minlength=num_classes)
    return np.argsort(-sizes, kind='stable')[: np.count_nonzero(sizes)]


def _composed(
    panels: dict[str, np.ndarray], legend: list[tuple[str, np.ndarray]], title: str
) -> Image.Image:
    """Put title, panels under their headings, and the legend in columns onto one canvas."""
    height, width = next(iter(panels.values())).shape[:2]
    font = load_font(max(16, round(max(height, width) / 50)))
    gap, line = round(0.5 * font.size), round(1.6 * font.size)
    caption = 'IoU of the classes in this image, largest class first'
    # Wide enough for every text, so that none is cut.
    width = max(width, *(round(font.getlength(heading)) for heading in panels))
    cell = max(round(font.getlength(text)) for text, _ in legend) + 3 * line
    lines = max(round(font.getlength(text)) for text in (title, caption))
    whole = max(3 * width + 4 * gap, cell, lines + 2 * gap)
    rows = -(-len(legend) // (whole // cell))
    top = 2 * line + gap
    bottom = top + height + gap
    canvas = Image.new('RGB', (whole, bottom + (rows + 1) * line + gap), _GROUND)
    pen = ImageDraw.Draw(canvas)
    texts = [(gap, gap // 2, title), (gap, bottom, caption)]
    for number, (heading, pixels) in enumerate(panels.items()):
        left = gap + number * (width + gap)
        texts.append((left, line + gap // 2, heading))
        canvas.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, top))
    for number, (text, patch) in enumerate(legend):
        x, y = gap + number // rows * cell, bottom + (1 + number % rows) * line
        swatch = Image.fromarray(patch).crop((0, 0, line, round(font.size)))
        canvas.paste(swatch, (x, y + (line - swatch.height) // 2))
        texts.append((x + line + gap, y, text))
    for x, y, text in texts:
        pen.text((x, y + line / 2), text, fill='white', font=font, anchor='lm')
    return canvas
