"""The module of a config's task."""

from __future__ import annotations

from mmengine.config import Config

from casvit_mm.task import Task, task_name

__all__ = ['task_of']


def task_of(cfg: Config) -> Task:
    """Return the task that a config is for.

    Raises:
        InputError: As :func:`casvit_mm.task.task_name`.
    """
    name = task_name(cfg)
    # Imported here, since the framework of another task may be absent.
    if name == 'segmentation':
        from casvit_mm.segmentation import task as segmentation

        return segmentation
    if name == 'classification':
        from casvit_mm.classification import task as classification

        return classification
    from casvit_mm.detection import task as detection

    return detection
