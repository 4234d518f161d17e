"""The module of a task, by its name or by a config."""

from __future__ import annotations

from mmengine.config import Config

from casvit_mm.task import Task, task_name

__all__ = ['task_named', 'task_of']


def task_of(cfg: Config) -> Task:
    """Return the task that a config is for.

    Raises:
        InputError: As :func:`casvit_mm.task.task_name`.
    """
    return task_named(task_name(cfg))


def task_named(name: str) -> Task:
    """Return the task ``'detection'``, ``'segmentation'`` or ``'classification'``."""
    # Imported here, since the framework of another task may be absent.
    if name == 'segmentation':
        from casvit_mm.segmentation import task as segmentation

        return segmentation
    if name == 'classification':
        from casvit_mm.classification import task as classification

        return classification
    from casvit_mm.detection import task as detection

    return detection
