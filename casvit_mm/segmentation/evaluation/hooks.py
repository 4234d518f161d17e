"""Pictures of every test image, also when several processes share the images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.datasets.images import read_image
from casvit_mm.errors import InputError
from casvit_mm.segmentation.evaluation.image_files import ImageFiles
from casvit_mm.segmentation.prediction.drawing import draw_segmentation

__all__ = ['SegmentationPicturesHook', 'draw_sample']


@HOOKS.register_module()
class SegmentationPicturesHook(Hook):
    """Draw image, truth and prediction of every test image, each rank those that it evaluates.

    Args:
        out_dir: Folder for the pictures.
        root: Folder of the images; a picture has the path below ``out_dir`` that its image has
            below ``root``, as PNG. None: its file name alone.
        ignore_index: Label of pixels that count for nothing.
    """

    def __init__(self, out_dir: str, root: str | None = None, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index
        self._files = ImageFiles(out_dir, root)
        self._failures: dict[str, None] = {}

    def before_test(self, runner: Runner) -> None:
        """Refuse a data set of which two images would give one picture.

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
            draw = partial(draw_sample, sample, meta, name, self.ignore_index)
            self._files.write(sample.img_path, draw)

    def after_test(self, runner: Runner) -> None:
        """Tell every rank what any of them could not draw."""
        failures = all_gather_object(self._files.failure)
        self._failures = dict.fromkeys(failure for failure in failures if failure)

    def check_written(self) -> None:
        """Tell, after a test, whether every rank has written its pictures.

        Raises:
            InputError: If some could not be drawn or written.
        """
        if self._failures:
            raise InputError('\n'.join(self._failures))


def draw_sample(sample: Any, meta: dict[str, Any], title: str, ignore_index: int) -> np.ndarray:
    """Draw what a model returned for an image of a data set.

    Args:
        sample: mmseg's SegDataSample with truth, prediction and ``img_path``.
        meta: The data set's metainfo: ``classes``, and ``palette`` if it has one.
        title: Line above the panels.
        ignore_index: Number in the truth of pixels that count for nothing.

    Returns:
        BGR pixels, as
        :func:`casvit_mm.segmentation.prediction.drawing.draw_segmentation` returns them.

    Raises:
        InputError: If the image cannot be read, or truth or prediction do not fit it.
    """
    truth, prediction = (
        labels.data.squeeze(0).cpu().numpy() for labels in (sample.gt_sem_seg, sample.pred_sem_seg)
    )
    image = read_image(sample.img_path)
    return draw_segmentation(
        image, truth, prediction, meta['classes'], title, meta.get('palette'), ignore_index
    )
