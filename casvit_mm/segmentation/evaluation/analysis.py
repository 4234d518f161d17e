"""Where a segmentation errs: what is taken for what, and the images it does worst on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel

from casvit_mm.io import replacing, write_json
from casvit_mm.plotting.confusion import describe_confusions, draw_confusion_matrix
from casvit_mm.segmentation.evaluation.counts import class_figures, mean_known
from casvit_mm.segmentation.evaluation.hooks import draw_sample
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU

__all__ = ['summarise', 'worst_images', 'write_analysis']


def worst_images(metric: SegmentationIoU, number: int) -> list[tuple[int, float]]:
    """Return position in the data set and mIoU of the images with the lowest mIoU.

    The mean is over the classes that occur in the image or its prediction. Images of which every
    pixel is ignored have none and are left out.
    """
    num_classes = len(metric.confusion_matrix)
    scores = [mean_known(class_figures(image.matrix(num_classes))[0]) for image in metric.images]
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


def write_analysis(
    folder: str | Path,
    metric: SegmentationIoU,
    model: BaseModel,
    dataset: Any,
    num_worst: int = 12,
) -> dict[str, Any]:
    """Write ``analysis.json``, ``confusion_matrix.png`` and pictures of the worst images.

    ``analysis.json`` holds what :func:`summarise` returns, and ``worst_images``. The pictures
    ``worst_01.png`` on are drawn from a second look of the model; those of an earlier analysis are
    replaced.

    Args:
        folder: Where to write; made.
        metric: After an evaluation, on rank 0.
        model: The one that was evaluated, in evaluation mode.
        dataset: The data set that it was evaluated on.
        num_worst: How many images to draw at most.

    Returns:
        The content of ``analysis.json``.

    Raises:
        InputError: If a file cannot be written, or an image not be read.
    """
    folder = Path(folder)
    for old in folder.glob('worst_[0-9][0-9].png'):
        old.unlink()
    summary = summarise(metric)
    worst = worst_images(metric, num_worst)
    summary['worst_images'] = [
        dict(picture=f'worst_{rank:02d}.png', img_path=metric.images[index].path, mIoU=score)
        for rank, (index, score) in enumerate(worst, 1)
    ]
    write_json(folder / 'analysis.json', summary)
    draw_confusion_matrix(
        metric.confusion_matrix,
        metric.dataset_meta['classes'],
        folder / 'confusion_matrix.png',
        unit='pixel',
    )
    for (index, _), entry in zip(worst, summary['worst_images'], strict=True):
        (sample,) = model.test_step(pseudo_collate([dataset[index]]))
        title = Path(entry['img_path']).name
        picture = draw_sample(sample, metric.dataset_meta, title, metric.ignore_index)
        with replacing(folder / entry['picture'], 'wb') as file:
            file.write(cv2.imencode('.png', picture)[1])
    return summary
