"""Masks of objects as crops, so that those of a large image fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import cv2
import numpy as np

from casvit_mm.deploy.rle import runs_as_text

__all__ = ['CroppedMasks', 'MaskCrop', 'crop_of', 'encode_crop', 'join_crops']


class MaskCrop(NamedTuple):
    """The part of a mask that holds all its pixels.

    Attributes:
        top: Its first row in the image.
        left: Its first column.
        pixels: bool ``(h, w)``; ``(0, 0)`` of an empty mask.
    """

    top: int
    left: int
    pixels: np.ndarray


class CroppedMasks:
    """Masks of one image, each kept as its crop.

    ``masks[i]`` is bool ``(H, W)`` as in an array of masks, and ``np.asarray(masks)`` is that
    array, bool ``(N, H, W)``; both are made when they are asked for.

    Args:
        crops: One for each object.
        size: Height and width of the image.
    """

    def __init__(self, crops: Sequence[MaskCrop], size: tuple[int, int]) -> None:
        self.crops, self.size = list(crops), size

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(N, H, W)``."""
        return len(self.crops), *self.size

    def __len__(self) -> int:
        return len(self.crops)

    @overload
    def __getitem__(self, number: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, number: np.ndarray) -> CroppedMasks: ...
    def __getitem__(self, number: int | np.ndarray) -> np.ndarray | CroppedMasks:
        """Return the mask of one object, bool ``(H, W)``, or those that an array chooses."""
        if isinstance(number, np.ndarray):
            return CroppedMasks([self.crops[i] for i in np.arange(len(self))[number]], self.size)
        top, left, pixels = self.crops[number]
        mask = np.zeros(self.size, bool)
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return mask

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        masks = np.stack(list(self)) if self.crops else np.zeros(self.shape, bool)
        return masks if dtype is None else masks.astype(dtype)

    def resized(self, size: tuple[int, int]) -> CroppedMasks:
        """Return the masks for the image at another size."""
        return CroppedMasks([_resize(crop, self.size, size) for crop in self.crops], size)


def crop_of(masks: np.ndarray | CroppedMasks, number: int) -> MaskCrop:
    """Return the crop of one of several masks; whose pixels are a copy."""
    if isinstance(masks, CroppedMasks):
        return masks.crops[number]
    mask = masks[number]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return MaskCrop(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return MaskCrop(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def join_crops(crops: Sequence[MaskCrop]) -> MaskCrop:
    """Return the crop of all pixels that are in one of several masks."""
    crops = [crop for crop in crops if crop.pixels.size]
    if len(crops) < 2:
        return crops[0] if crops else MaskCrop(0, 0, np.zeros((0, 0), bool))
    top, left = min(c.top for c in crops), min(c.left for c in crops)
    bottom = max(c.top + c.pixels.shape[0] for c in crops)
    right = max(c.left + c.pixels.shape[1] for c in crops)
    pixels = np.zeros((bottom - top, right - left), bool)
    for crop in crops:
        (height, width), row, column = crop.pixels.shape, crop.top - top, crop.left - left
        pixels[row : row + height, column : column + width] |= crop.pixels
    return MaskCrop(top, left, pixels)


def encode_crop(crop: MaskCrop, size: tuple[int, int]) -> dict[str, Any]:
    """Return a mask as :func:`casvit_mm.deploy.rle.encode_mask` does, without making it whole.

    Args:
        crop: Of the mask.
        size: Height and width of the image.
    """
    (top, left, pixels), (height, width) = crop, size
    # Runs of ones in COCO's order, column by column.
    columns = np.zeros((pixels.shape[1], pixels.shape[0] + 2), np.int8)
    columns[:, 1:-1] = pixels.T
    steps = np.diff(columns, axis=1)
    (column, start), end = np.nonzero(steps == 1), np.nonzero(steps == -1)[1]
    offset = (left + column) * height + top
    edges: np.ndarray = np.stack([offset + start, offset + end], 1).ravel()
    # A run that ends where the next begins, at the bottom of one column and the top of the next.
    joined = np.flatnonzero(edges[1:-1:2] == edges[2::2]) * 2 + 1
    edges = np.delete(edges, np.concatenate([joined, joined + 1]))
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    if counts[-1] == 0:
        counts = counts[:-1]
    return dict(size=[height, width], counts=runs_as_text(counts))


def _resize(crop: MaskCrop, old: tuple[int, int], new: tuple[int, int]) -> MaskCrop:
    """Return a crop for an image of another size; an object keeps one pixel at least."""
    if not crop.pixels.size:
        return crop
    rows, columns = new[0] / old[0], new[1] / old[1]
    height, width = (
        max(1, round(side * factor))
        for side, factor in zip(crop.pixels.shape, (rows, columns), strict=True)
    )
    top = min(int(crop.top * rows), new[0] - height)
    left = min(int(crop.left * columns), new[1] - width)
    grey = crop.pixels.astype(np.uint8) * 255
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return MaskCrop(top, left, small > 127)
