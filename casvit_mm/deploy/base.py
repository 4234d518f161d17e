"""What the predictions of all tasks share: their image, and the forms that others read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casvit_mm.deploy.images import read_image
from casvit_mm.deploy.windows import WindowedImage, open_windows
from casvit_mm.errors import InputError
from casvit_mm.io import replacing

__all__ = ['PICTURE_SIDE', 'Prediction', 'optional', 'to_coco', 'write_png']

PICTURE_SIDE = 4096  # pixels of the longer side of a picture, of an image that is read by windows


@dataclass(frozen=True, kw_only=True)
class Prediction(ABC):
    """What a model says of one image.

    Attributes:
        classes: Names of all classes, in the order of the model's outputs.
        size: Height and width of the image in pixels.
        source: The file of the image, or its BGR pixels, uint8 ``(H, W, 3)``.
        frame: Number of the frame in a video, from 0; None of an image.
        time: Its time in seconds.
    """

    classes: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    source: Path | np.ndarray | None = None
    frame: int | None = None
    time: float | None = None

    @property
    def image(self) -> np.ndarray:
        """The image as BGR pixels, uint8 ``(H, W, 3)``; a file is read again.

        Raises:
            InputError: If it cannot be read.
        """
        if isinstance(self.source, np.ndarray):
            return self.source
        if self.source is None:
            raise InputError('this prediction does not know its image: pass its pixels to draw()')
        return read_image(self.source)

    @property
    def name(self) -> str:
        """How the files of :meth:`save` begin: the name of the image without suffix."""
        stem = self.source.stem if isinstance(self.source, Path) else 'image'
        return stem if self.frame is None else f'{stem}_{self.frame:06d}'

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Return the prediction as rows of a table, the same keys in each."""

    @abstractmethod
    def draw(self, image: np.ndarray | WindowedImage | None = None) -> np.ndarray:
        """Return a picture of the prediction; needs Pillow.

        Args:
            image: BGR pixels, uint8 ``(H, W, 3)``, of the image or of a smaller copy of it; None
                takes :attr:`image`. What is read by windows is scaled down until its longer side
                is at most :data:`PICTURE_SIDE`.

        Returns:
            BGR pixels, uint8 ``(h, w, 3)``, enlarged where the image is small, with a line below.

        Raises:
            InputError: If the image cannot be read, or Pillow is not installed.
        """

    def _canvas(self, image: np.ndarray | WindowedImage | None) -> np.ndarray:
        """Return the pixels to draw on, BGR, uint8 ``(H, W, 3)``."""
        if image is None:
            image = open_windows(self.source)
        if isinstance(image, WindowedImage):
            return image.reduced(PICTURE_SIDE)
        return self.image if image is None else image

    @abstractmethod
    def to_supervision(self) -> Any:
        """Return what Roboflow's ``supervision`` works with.

        Raises:
            InputError: If it is not installed.
        """

    @abstractmethod
    def annotations(self) -> list[dict[str, Any]]:
        """Return the annotations of :meth:`to_coco`, without numbers of image and annotation."""

    @abstractmethod
    def write_data(self, folder: Path) -> Path:
        """Write what is no picture into an existing folder, and return the file."""

    def to_coco(self) -> dict[str, Any]:
        """Return the prediction as a dataset in the format of COCO; see :func:`to_coco`."""
        return to_coco([self])

    def to_pandas(self) -> Any:
        """Return the :meth:`rows` as a ``pandas.DataFrame``.

        Raises:
            InputError: If pandas is not installed.
        """
        return optional('pandas', 'to_pandas()').DataFrame(self.rows())

    def save(self, folder: str | Path) -> list[Path]:
        """Write the picture, and the prediction as data, under the name of the image.

        ``NAME.png`` is the picture; beside it stands ``NAME.json`` in COCO's format of a detector,
        ``NAME.labels.png`` with the number of the class of each pixel of a segmentor, and
        ``NAME.csv`` of a classifier.

        Args:
            folder: Where to write; made.

        Returns:
            The files.

        Raises:
            InputError: If a file cannot be written, or would replace the image itself.
        """
        folder = Path(folder)
        picture = folder / f'{self.name}.png'
        if isinstance(self.source, Path) and picture.resolve() == self.source.resolve():
            raise InputError(f'{picture} is the image itself. Name another folder')
        write_png(picture, self.draw())
        return [picture, self.write_data(folder)]


def to_coco(results: Sequence[Prediction]) -> dict[str, Any]:
    """Return predictions of one model as a dataset in the format of COCO.

    ``images``, ``categories`` and ``annotations`` are numbered from 1. An annotation has
    ``category_id`` and ``score``; of a detector ``bbox`` (x, y, width and height in pixels),
    ``area`` and, from a model with masks, ``segmentation`` as RLE. A segmentor gives one for each
    class that occurs, without score; a classifier one for each image, without place.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, result in enumerate(results, 1):
        source = result.source
        name = str(source) if isinstance(source, Path) else f'{result.name}_{image_id}'
        height, width = result.size
        images.append(dict(id=image_id, file_name=name, width=width, height=height))
        for annotation in result.annotations():
            numbers = dict(id=len(annotations) + 1, image_id=image_id)
            annotations.append({**numbers, **annotation})
    classes = results[0].classes if results else ()
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    return dict(images=images, categories=categories, annotations=annotations)


def optional(package: str, what: str) -> Any:
    """Import a package that one method needs.

    Raises:
        InputError: If it is not installed.
    """
    if find_spec(package) is None:
        raise InputError(f'{what} needs {package}, which is not installed: pip install {package}')
    return import_module(package)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels, ``(H, W)`` or BGR ``(H, W, 3)``, in one step; the folder is made.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path, 'wb') as file:
        file.write(cv2.imencode('.png', pixels)[1].tobytes())
