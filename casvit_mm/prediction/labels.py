"""Predictions as files that labelling tools take back, to be corrected there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.datasets.writers.registry import check_free, find_writer, write_set
from casvit_mm.deploy.base import Prediction
from casvit_mm.deploy.results import Classification, Detections, Segmentation
from casvit_mm.errors import InputError

__all__ = ['LabelFiles', 'labels_of', 'write_labels']

_TASKS: dict[type, str] = {
    Detections: 'detection',
    Segmentation: 'segmentation',
    Classification: 'classification',
}
_SPLIT = 'train'  # what corrected labels will be


class LabelFiles:
    """Gathers predictions on files, and writes them in the format of a labelling tool.

    Args:
        task: Of the model.
        classes: Of the model.
        to: Format, one of :data:`casvit_mm.datasets.writers.registry.WRITERS`.
        out: Folder to make.

    Raises:
        InputError: If the format does not hold what the task says, or the folder exists.
    """

    def __init__(self, task: str, classes: Sequence[str], to: str, out: Path) -> None:
        find_writer(to, task)
        check_free(out)
        categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        self._set = LabelledSet(task, categories, {_SPLIT: []}, predicted=True)
        self._to, self._out = to, out

    def add(self, file: Path, name: str, labels: dict[str, Any]) -> None:
        """Take what is said of the file of an image.

        Args:
            file: The image.
            name: Path of the image from the folder of all images.
            labels: Of :func:`labels_of`, which may have been JSON in between.
        """
        image = ImageLabels(file, name, labels['width'], labels['height'])
        image.objects = labels['objects']
        image.classes = [(found, score) for found, score in labels['classes']]
        self._set.splits[_SPLIT].append(image)

    def leave_out(self, number: int) -> None:
        """Count predictions that are not about the file of an image."""
        self._set.lost['predictions on frames and addresses, which are no image files'] += number

    def finish(self) -> list[str]:
        """Write the files, images as links, and return what to say of them."""
        images = self._set.splits[_SPLIT]
        name = find_writer(self._to, self._set.task).name
        if not images:
            return [f'{name}: nothing to write, no image file was predicted on']
        written = write_set(self._set, self._to, self._out, link=True)
        lines = [f'for {name}: {written}']
        return lines + [f'  not held by {name}: {n} {what}' for what, n in self._set.lost.items()]


def labels_of(result: Prediction) -> dict[str, Any]:
    """Return what a labelling tool is told of an image."""
    height, width = result.size
    labels: dict[str, Any] = dict(width=width, height=height, objects=[], classes=[])
    if isinstance(result, Classification):
        best = result.rows()[0]
        labels['classes'].append((best['class'], round(best['score'], 5)))
    else:
        labels['objects'] = result.annotations()
    return labels


def write_labels(results: Sequence[Prediction], to: str, out: str | Path) -> Path:
    """Write predictions in the format of a labelling tool, to be corrected there.

    A segmentor's become an object with a mask for each class that occurs. Images are linked.

    Args:
        results: What :func:`casvit_mm.load` returns for files, of one model.
        to: ``'coco'``, ``'yolo'``, ``'voc'``, ``'labelme'``, ``'cvat'`` or ``'label-studio'``.
        out: Folder to make.

    Returns:
        The folder.

    Raises:
        InputError: If there is no result, one is not about a file, the format does not hold what
            the task says, or the folder exists or cannot be written.
    """
    if not results:
        raise InputError('there is no prediction to write')
    first = results[0]
    files = LabelFiles(_TASKS[type(first)], first.classes, to, Path(out))
    for result in results:
        if not isinstance(result.source, Path) or result.frame is not None:
            raise InputError(
                'labelling tools take predictions on image files alone; call the model with paths'
            )
        files.add(result.source, result.source.name, labels_of(result))
    files.finish()
    return Path(out)
