"""One PNG per image of a dataset, named like the image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import get_rank

from casvit_mm.errors import InputError
from casvit_mm.io import replacing

__all__ = ['ImageFiles']


class ImageFiles:
    """A folder of PNGs, each at the path that its image has below ``root``.

    After a first file that cannot be written no more are. The evaluation goes on, since its metrics
    need no file.

    Args:
        folder: Where to write; made.
        root: Folder of the images. An image elsewhere, or every image where ``root`` is None, is
            known by its file name alone.

    Attributes:
        failure: Why a file could not be written; empty as long as all could.
    """

    def __init__(self, folder: str | Path, root: str | Path | None) -> None:
        self.folder = Path(folder)
        self._root = None if root is None else os.path.abspath(root)
        self.failure = ''

    def name(self, image: str) -> str:
        """Return the path of an image's file below the folder, e.g. ``'street/0001.png'``."""
        path = Path(os.path.abspath(image))
        if self._root is not None and path.is_relative_to(self._root):
            return str(path.relative_to(self._root).with_suffix('.png'))
        return f'{path.stem}.png'

    def check_names(self, images: Iterable[str]) -> None:
        """Refuse images whose files would replace each other.

        Raises:
            InputError: Naming two of them.
        """
        known: dict[str, str] = {}
        for image in images:
            other = known.setdefault(self.name(image), image)
            if os.path.abspath(other) != os.path.abspath(image):
                raise InputError(
                    f'{other} and {image} would both be written to '
                    f'{self.folder / self.name(image)}. Rename one of them.'
                )

    def write(self, image: str, make: Callable[[], np.ndarray]) -> None:
        """Write an image's file, or keep the reason in ``failure`` and write no more.

        Args:
            image: Path of the image that the file belongs to.
            make: Returns what to write, uint8 ``(H, W)`` grey or ``(H, W, 3)`` BGR. May raise
                InputError.
        """
        if self.failure:
            return
        try:
            content = cv2.imencode('.png', make())[1]
            # The last batch is padded with the first images, which two ranks then write at once.
            path = self.folder / self.name(image)
            with replacing(path, 'wb', part=f'.{get_rank()}.part') as file:
                file.write(content)
        except InputError as error:
            self.failure = str(error)
