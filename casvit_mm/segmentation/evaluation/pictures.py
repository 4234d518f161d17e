"""Pictures of what a segmentor predicts beside the truth, and of its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel

from casvit_mm.datasets.images import read_image
from casvit_mm.io import replacing, write_json
from casvit_mm.plotting.confusion import draw_confusion_matrix
from casvit_mm.segmentation.evaluation.analysis import summarise, worst_images
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU
from casvit_mm.segmentation.prediction.drawing import draw_segmentation

__all__ = ['draw_sample', 'write_analysis']


def draw_sample(sample: Any, meta: dict[str, Any], title: str, ignore_index: int) -> np.ndarray:
    """Draw what a model returned for an image of a dataset.

    Args:
        sample: mmseg's SegDataSample with prediction, ``img_path`` and, if there is one, truth.
        meta: The dataset's metainfo: ``classes``, and ``palette`` if it has one.
        title: Line above the panels.
        ignore_index: Label of the pixels that are not evaluated.

    Returns:
        BGR pixels, as
        :func:`casvit_mm.segmentation.prediction.drawing.draw_segmentation` returns them.

    Raises:
        InputError: If the image cannot be read, or truth or prediction do not fit it.
    """
    prediction = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
    truth = np.full_like(prediction, ignore_index)
    if 'gt_sem_seg' in sample:
        truth = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
    image = read_image(sample.img_path)
    return draw_segmentation(
        image, truth, prediction, meta['classes'], title, meta.get('palette'), ignore_index
    )


def write_analysis(
    folder: str | Path,
    metric: SegmentationIoU,
    model: BaseModel,
    dataset: Any,
    num_worst: int = 12,
) -> dict[str, Any]:
    """Write ``analysis.json``, ``confusion_matrix.png`` and pictures of the worst images.

    ``analysis.json`` holds what
    :func:`casvit_mm.segmentation.evaluation.analysis.summarise` returns, and ``worst_images``. For
    the pictures ``worst_01.png`` on, the model predicts these images once more; those of an earlier
    analysis are replaced.

    Args:
        folder: Where to write; made.
        metric: After an evaluation, on rank 0.
        model: The one that was evaluated, in evaluation mode.
        dataset: The dataset that it was evaluated on.
        num_worst: Maximum number of images to draw.

    Returns:
        The content of ``analysis.json``.

    Raises:
        InputError: If a file cannot be written, or an image cannot be read.
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
        'Pixels of a class, in percent of its row',
    )
    for (index, _), entry in zip(worst, summary['worst_images'], strict=True):
        (sample,) = model.test_step(pseudo_collate([dataset[index]]))
        title = Path(entry['img_path']).name
        picture = draw_sample(sample, metric.dataset_meta, title, metric.ignore_index)
        with replacing(folder / entry['picture'], 'wb') as file:
            file.write(cv2.imencode('.png', picture)[1])
    return summary
