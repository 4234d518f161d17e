"""Pictures of every test image, drawn by the process that evaluates it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from casvit_mm.datasets.image_files import ImageFiles
from casvit_mm.errors import InputError

__all__ = ['PicturesHook']


class PicturesHook(Hook):
    """Draw truth and prediction of every test image, each rank those that it evaluates.

    Args:
        out_dir: Folder for the pictures.
        root: Folder of the images; a picture has the path below ``out_dir`` that its image has
            below ``root``, as PNG. None: its file name alone.
    """

    def __init__(self, out_dir: str, root: str | None = None) -> None:
        self._files = ImageFiles(out_dir, root)
        self._failures: dict[str, None] = {}

    @abstractmethod
    def draw(self, sample: Any, meta: dict[str, Any], title: str) -> np.ndarray:
        """Draw what a model returned for an image of a dataset.

        Args:
            sample: The framework's data sample, with prediction and, if there is one, truth.
            meta: The dataset's metainfo.
            title: Line above the picture.

        Returns:
            BGR pixels, uint8 ``(h, w, 3)``.

        Raises:
            InputError: If the image cannot be drawn.
        """

    def before_test(self, runner: Runner) -> None:
        """Refuse a dataset in which two images would give one picture.

        Raises:
            InputError: Naming the two.
        """
        dataset = runner.test_dataloader.dataset
        self._files.check_names(dataset.get_data_info(i)['img_path'] for i in range(len(dataset)))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draw the images of one batch."""
        meta = runner.test_dataloader.dataset.metainfo
        for sample in outputs or ():
            name = self._files.name(sample.img_path)
            self._files.write(sample.img_path, partial(self.draw, sample, meta, name))

    def after_test(self, runner: Runner) -> None:
        """Share with every rank why any of them could not draw."""
        failures = all_gather_object(self._files.failure)
        self._failures = dict.fromkeys(failure for failure in failures if failure)

    def check_written(self) -> None:
        """Check, after a test, that every rank has written its pictures.

        Raises:
            InputError: If some could not be drawn or written.
        """
        if self._failures:
            raise InputError('\n'.join(self._failures))
