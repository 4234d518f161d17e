"""The check of a dataset of any task, as ``tools/check_data.py`` runs it."""

from __future__ import annotations

from pathlib import Path

from casvit_mm.classification.data import report as classification
from casvit_mm.datasets.description import described_task
from casvit_mm.detection.data import report as detection
from casvit_mm.errors import InputError
from casvit_mm.segmentation.data import report as segmentation

__all__ = ['check_dataset']

_OTHERS = {
    'segmentation': ('segmentation masks', segmentation.check_dataset),
    'classification': ('an image folder', classification.check_dataset),
}


def check_dataset(
    data: str | Path,
    out: str | Path,
    *,
    config: str | None = None,
    fix: str | Path | None = None,
    read_images: bool = True,
) -> bool:
    """Check a dataset, print a report, and write pictures and ``report.json``.

    Args:
        data: ``dataset.yaml``; its sources tell the task. The fields of each task are those of its
            ``data.description``.
        out: Folder for what is written.
        config: Detection config to judge by. None takes a published one that fits the data, and
            lets objects be without masks.
        fix: Folder for a clean copy of the annotations; None writes none.
        read_images: Whether image files are read.

    Returns:
        Whether training would start.

    Raises:
        InputError: If the description or the config cannot be read, the copy not be made, or
            ``config`` or ``fix`` is given for data of another task.
    """
    task = described_task(data)
    if task not in _OTHERS:
        return detection.check_dataset(data, out, config=config, fix=fix, read_images=read_images)
    what, check = _OTHERS[task]
    for option, value in (('--fix', fix), ('--config', config)):
        if value is not None:
            raise InputError(
                f'{option} is for detection data, and {data} describes {what}; leave it out. '
                'The report says for each issue how to fix it.'
            )
    return check(data, out, read_images)
