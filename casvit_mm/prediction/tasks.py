"""What prediction leaves to the task of a config."""

from __future__ import annotations

from typing import Any, Protocol

from mmengine.config import Config

from casvit_mm.deploy.results import Classification, Detections, Segmentation

__all__ = ['TaskPrediction', 'TaskResult', 'prediction_of']

TaskResult = Classification | Detections | Segmentation


class TaskPrediction(Protocol):
    """What the module ``prediction.results`` of each task package holds."""

    def set_limits(self, cfg: Config, score_thr: float | None, max_dets: int | None) -> None:
        """Set the minimum score and the maximum of objects, where the task has these, in place."""

    def read_sample(
        self, sample: Any, classes: tuple[str, ...], size: tuple[int, int]
    ) -> TaskResult:
        """Return what a data sample of the framework says.

        Args:
            sample: As ``test_step`` returns it.
            classes: All class names.
            size: Height and width of the image in pixels.
        """


def prediction_of(task: str) -> TaskPrediction:
    """Return the module of ``'detection'``, ``'segmentation'`` or ``'classification'``."""
    # Imported here, since the framework of another task may be absent.
    if task == 'segmentation':
        from casvit_mm.segmentation.prediction import results as segmentation

        return segmentation
    if task == 'classification':
        from casvit_mm.classification.prediction import results as classification

        return classification
    from casvit_mm.detection.prediction import results as detection

    return detection
