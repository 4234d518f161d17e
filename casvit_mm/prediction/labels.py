"""Predictions as files that labelling tools take back, to be corrected there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.datasets.writers.registry import check_free, find_writer, write_set
from casvit_mm.deploy.base import Prediction
from casvit_mm.deploy.results import Classification, Detections, Segmentation
from casvit_mm.errors import InputError

__all__ = ['LabelFiles', 'write_labels']

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

    def add(self, file: Path | None, name: str, result: Prediction) -> None:
        """Take a prediction; one that is not about the file of an image is counted as lost.

        Args:
            file: The image; None of one that is no file.
            name: Path of the image from the folder of all images.
            result: What the model says of it.
        """
        if file is None:
            self._set.lost['predictions on frames and addresses, which are no image files'] += 1
            return
        height, width = result.size
        image = ImageLabels(file, name, width, height)
        if isinstance(result, Classification):
            best = result.rows()[0]
            image.classes.append((best['class'], round(best['score'], 5)))
        else:
            image.objects = result.annotations()
        self._set.splits[_SPLIT].append(image)

    def finish(self) -> list[str]:
        """Write the files, images as links, and return what to say of them."""
        images = self._set.splits[_SPLIT]
        name = find_writer(self._to, self._set.task).name
        if not images:
            return [f'{name}: nothing to write, no image file was predicted on']
        written = write_set(self._set, self._to, self._out, link=True)
        lines = [f'for {name}: {written}']
        return lines + [f'  not held by {name}: {n} {what}' for what, n in self._set.lost.items()]


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
        files.add(result.source, result.source.name, result)
    files.finish()
    return Path(out)
