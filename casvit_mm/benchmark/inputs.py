"""The picture that models are timed on."""

from __future__ import annotations

import re

import cv2
import numpy as np
import torch
from torch import Tensor

from casvit_mm.datasets.images import read_image
from casvit_mm.errors import InputError

__all__ = ['normalise', 'parse_size', 'pixels']

# Of ImageNet, which every config here normalises by; RGB.
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``'224'`` or ``'640x480'``, width before height, as (height, width).

    Raises:
        InputError: If it is neither, or smaller than the 32 pixels that the backbone needs.
    """
    match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    if match is None:
        raise InputError(f'{text!r} is no size; write 224, or WIDTHxHEIGHT such as 640x480')
    width, height = int(match[1]), int(match[2] or match[1])
    if min(width, height) < 32:
        raise InputError(f'size {text}: the backbone needs 32 pixels or more each way')
    return height, width


def pixels(batch: int, size: tuple[int, int], image: str | None = None) -> np.ndarray:
    """Return BGR pixels, uint8 ``(batch, 3, height, width)``.

    Args:
        batch: Number of equal pictures.
        size: Height and width, which the picture is scaled to.
        image: File; None gives noise.

    Raises:
        InputError: If the file cannot be read.
    """
    height, width = size
    if image is None:
        noise = np.random.default_rng(0)
        return noise.integers(0, 256, (batch, 3, height, width), dtype=np.uint8)
    picture = cv2.resize(read_image(image), (width, height)).transpose(2, 0, 1)
    return np.tile(picture, (batch, 1, 1, 1)).astype(np.uint8)


def normalise(bgr: np.ndarray) -> Tensor:
    """Return pixels as the network sees them: RGB, float32, by ImageNet's mean and deviation.

    Args:
        bgr: uint8 ``(B, 3, H, W)``.
    """
    rgb = bgr[:, ::-1].astype(np.float32)
    return torch.from_numpy((rgb - _MEAN[:, None, None]) / _STD[:, None, None])
