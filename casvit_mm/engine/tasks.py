"""What training and evaluation leave to the task of a config: its data, figures and pictures."""

from __future__ import annotations

from mmengine.config import Config

from casvit_mm.task import Task

__all__ = ['task_of']


def task_of(cfg: Config) -> Task:
    """Return the task that a config is for."""
    if cfg.get('default_scope') == 'mmseg':
        from casvit_mm.segmentation import task as segmentation

        return segmentation
    if cfg.get('default_scope') == 'mmpretrain':
        from casvit_mm.classification import task as classification

        return classification
    from casvit_mm.detection import task as detection

    return detection
