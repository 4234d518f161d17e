"""Pictures of a classification: the image, and beside it its class and the most probable ones."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from casvit_mm.deploy.canvas import load_font
from casvit_mm.errors import plain_name

__all__ = ['draw_classified']

_HEIGHT = 400  # of the image, in pixels; its width is 200 to 800
_SHOWN = 5  # classes
_FONT, _LINE = 18, 32  # pixels
_BAR = 240
_GROUND, _RIGHT, _WRONG, _OTHER = (32, 32, 32), (70, 180, 90), (225, 90, 70), (130, 130, 130)


def draw_classified(
    image: np.ndarray,
    scores: np.ndarray,
    truth: int | None,
    classes: Sequence[str],
    title: str,
) -> np.ndarray:
    """Draw an image beside the most probable classes and, if it is none of them, the true one.

    The bar of the true class is green, that of a wrong prediction red.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        scores: Probability of each class, ``(classes,)``.
        truth: Number of the true class; None where it is not known.
        classes: Names of all classes.
        title: Line above, e.g. the image's name.

    Returns:
        BGR pixels, uint8 ``(h, w, 3)``.
    """
    scores = np.nan_to_num(scores)  # the metric says what is wrong
    order = np.argsort(-scores, kind='stable')
    rows = [int(k) for k in order[:_SHOWN]]
    if truth is not None and truth not in rows:
        rows.append(truth)
    width = int(np.clip(_HEIGHT * image.shape[1] / image.shape[0], 200, 800))
    factor = min(width / image.shape[1], _HEIGHT / image.shape[0])
    size = tuple(max(1, round(factor * side)) for side in image.shape[1::-1])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = Image.fromarray(cv2.resize(image, size, interpolation=method)[..., ::-1])

    font = load_font(_FONT)
    names = [plain_name(classes[k], 40) for k in rows]
    headline = _headline(rows[0], truth, classes)
    left = width + 2 * _FONT
    label = max(round(font.getlength(name)) for name in names) + _FONT
    texts = [round(font.getlength(text)) for text in (plain_name(title), headline)]
    whole = max(left + label + _BAR + 4 * _FONT, texts[0] + 2 * _FONT, left + texts[1] + _FONT)
    canvas = Image.new('RGB', (whole, _HEIGHT + 2 * _LINE), _GROUND)
    canvas.paste(picture, (_FONT, _LINE + _FONT // 2))
    pen = ImageDraw.Draw(canvas)
    written = [(_FONT, _LINE // 2, plain_name(title)), (left, 3 * _LINE // 2, headline)]
    for number, (k, name) in enumerate(zip(rows, names, strict=True)):
        y = (number + 3) * _LINE
        colour = _RIGHT if k == truth else _WRONG if k == rows[0] and truth is not None else _OTHER
        start = left + label
        pen.rectangle((start, y - 9, start + round(_BAR * float(scores[k])), y + 9), fill=colour)
        written += [(left, y, name), (start + _BAR + _FONT // 2, y, f'{scores[k]:.2f}')]
    for x, y, text in written:
        pen.text((x, y), text, fill='white', font=font, anchor='lm')
    return np.asarray(canvas)[..., ::-1]


def _headline(predicted: int, truth: int | None, classes: Sequence[str]) -> str:
    if truth is None:
        return 'class not known'
    name = plain_name(classes[truth], 40)
    return f'right: {name}' if predicted == truth else f'wrong: it is {name}'
