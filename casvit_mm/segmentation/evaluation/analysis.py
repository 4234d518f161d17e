"""Where a segmentor errs: what is taken for what, and the images it does worst on."""

from __future__ import annotations

from typing import Any

import numpy as np

from casvit_mm.plotting.confusion import describe_confusions
from casvit_mm.segmentation.evaluation.counts import class_rates, mean_known
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU

__all__ = ['summarise', 'worst_images']


def worst_images(metric: SegmentationIoU, number: int) -> list[tuple[int, float]]:
    """Return index in the dataset and mIoU of the images with the lowest mIoU.

    The mean is over the classes that occur in the image or its prediction. Images of which every
    pixel is ignored have none and are left out.
    """
    num_classes = len(metric.confusion_matrix)
    scores = [mean_known(class_rates(image.matrix(num_classes))[0]) for image in metric.images]
    known = [(i, score) for i, score in enumerate(scores) if not np.isnan(score)]
    return sorted(known, key=lambda item: item[1])[:number]


def summarise(metric: SegmentationIoU) -> dict[str, Any]:
    """Return what an evaluation found, as plain values.

    Keys: ``remarks`` (sentences on the most frequent confusions), ``classes`` (name: IoU, Acc,
    pixels), ``confusion_matrix`` (``labels``, ``counts`` of pixels, row truth). NaN where there is
    nothing to divide by.
    """
    names, matrix = list(metric.dataset_meta['classes']), metric.confusion_matrix
    classes = {
        name: {key: metric.details[f'{key}/{name}'] for key in ('IoU', 'Acc', 'pixels')}
        for name in names
    }
    return dict(
        remarks=describe_confusions(matrix, names, 'pixel'),
        classes=classes,
        confusion_matrix=dict(labels=names, counts=matrix.tolist()),
    )
