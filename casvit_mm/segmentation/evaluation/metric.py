"""Mean intersection over union of a segmentation, from exact counts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from casvit_mm.datasets.image_files import ImageFiles
from casvit_mm.errors import InputError
from casvit_mm.segmentation.evaluation.counts import (
    ImageCounts,
    class_rates,
    count_pixels,
    mean_known,
)

__all__ = ['SegmentationIoU']

_MAX_ERRORS = 5  # masks that a message names one by one


@METRICS.register_module()
class SegmentationIoU(BaseMetric):
    """IoU and accuracy by class and on average, as fractions.

    ``mIoU`` is the mean over classes of intersection by union, ``mAcc`` the mean over classes of
    the share of their pixels that are found, ``aAcc`` the share of all pixels that are right; each
    over the pixels of all images together. A class that occurs neither in truth nor in prediction
    is left out of the means. The definitions are those of mmseg's IoUMetric, which counts in single
    precision and rounds to two decimals of a percent.

    Args:
        ignore_index: Label of the pixels that are not evaluated.
        out_dir: Folder for the predictions: an 8-bit grey PNG per image with the values of the
            label files, i.e. one more than the class number where the dataset has
            ``reduce_zero_label``, and the old numbers where it has a ``label_map``.
        root: Folder of the images; a PNG has the path below ``out_dir`` that its image has below
            ``root``. None: its file name alone.
        collect_device: ``'cpu'`` or ``'gpu'``, through which ranks exchange results.

    Attributes:
        details: After an evaluation, on rank 0, the metrics that a log has no room for:
            ``IoU/<class>``, ``Acc/<class>``, and ``pixels/<class>`` in the truth; NaN where there
            is nothing to divide by.
        confusion_matrix: After an evaluation, on rank 0, pixels as int64 ``(C, C)``, row truth,
            column prediction.
        images: After an evaluation, on rank 0, the counts of each image in the order of the
            dataset.
    """

    default_prefix = ''  # None would make MMEngine warn

    def __init__(
        self,
        ignore_index: int = 255,
        out_dir: str | None = None,
        root: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device)
        self.ignore_index = ignore_index
        self.details: dict[str, float] = {}
        self.confusion_matrix = np.zeros((0, 0), np.int64)
        self.images: list[ImageCounts] = []
        self._files = None if out_dir is None else ImageFiles(out_dir, root)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch, and write its masks.

        Raises:
            InputError: If an image has no truth, and its mask shall not be written either.
        """
        number = len(self.dataset_meta['classes'])
        for sample in data_samples:
            path, reason = sample['img_path'], ''
            prediction = sample['pred_sem_seg']['data'].squeeze(0).long()
            labelled = 'gt_sem_seg' in sample
            if not labelled and self._files is None:
                raise InputError(
                    f'{path} has no segmentation mask to compare with; --out-pred DIR writes the '
                    'predictions'
                )
            counts = torch.zeros(0, dtype=torch.int64)
            try:
                if labelled:
                    truth = sample['gt_sem_seg']['data'].squeeze(0).to(prediction)
                    matrix = count_pixels(truth, prediction, number, self.ignore_index)
                    counts = matrix.flatten().cpu()
            except InputError as error:  # rank 0 raises it for all ranks
                reason = f'{sample.get("seg_map_path", path)}: {error}'
            if self._files is not None and not reason:
                values = self._file_values(bool(sample.get('reduce_zero_label')))
                self._files.write(path, partial(np.take, values, prediction.cpu().numpy()))
            cells = counts.nonzero().squeeze(1)
            unwritten = '' if self._files is None else self._files.failure
            self.results.append(
                ImageCounts(path, cells.numpy(), counts[cells].numpy(), reason, unwritten, labelled)
            )

    def compute_metrics(self, results: list[ImageCounts]) -> dict[str, float]:
        """Return the three means over the images of all ranks; nothing if none has a truth.

        Raises:
            InputError: If truth or predictions do not fit the image or the classes.
        """
        errors = [image.error for image in results if image.error]
        if errors:
            more = len(errors) - _MAX_ERRORS
            tail = [f'and {more} more'] if more > 0 else []
            raise InputError('\n'.join([*errors[:_MAX_ERRORS], *tail]))
        classes = self.dataset_meta['classes']
        self.images = results
        if not any(image.labelled for image in results):
            return {}
        self.confusion_matrix = np.zeros((len(classes), len(classes)), np.int64)
        for image in results:
            self.confusion_matrix.flat[image.cells] += image.counts
        iou, accuracy = class_rates(self.confusion_matrix)
        pixels = self.confusion_matrix.sum(1)
        self.details = {}
        for key, values in (('IoU', iou), ('Acc', accuracy), ('pixels', pixels)):
            self.details |= {f'{key}/{n}': v for n, v in zip(classes, values.tolist(), strict=True)}
        right = self.confusion_matrix.trace()
        return dict(
            mIoU=mean_known(iou),
            mAcc=mean_known(accuracy),
            aAcc=float(right / pixels.sum()) if pixels.any() else float('nan'),
        )

    def check_written(self) -> None:
        """Check, on rank 0 after an evaluation, that every rank has written its masks.

        Raises:
            InputError: If some could not be written, or images share a name.
        """
        if self._files is not None:
            failures = dict.fromkeys(image.unwritten for image in self.images if image.unwritten)
            if failures:
                raise InputError('\n'.join(failures))
            self._files.check_names(image.path for image in self.images)

    def _file_values(self, reduce_zero_label: bool) -> np.ndarray:
        """Return the value that each class has in the label files, uint8 ``(C,)``.

        Raises:
            InputError: If 8 bits do not hold them beside the value 255 for what is ignored.
        """
        values = np.arange(len(self.dataset_meta['classes']))
        for old, new in (self.dataset_meta.get('label_map') or {}).items():
            if new != self.ignore_index:
                values[new] = old
        values += reduce_zero_label
        if values.max() >= 255:
            raise InputError(
                f'masks of 8 bits hold the values 0 to 254, and 255 for what is ignored; the '
                f'dataset has {len(values)} classes with values up to {values.max()}. Evaluate '
                'without --out-pred.'
            )
        return values.astype(np.uint8)
