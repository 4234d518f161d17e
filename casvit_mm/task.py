"""What training and evaluation leave to the task of a config: its data, metrics and pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from casvit_mm.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

__all__ = [
    'CheckOptions',
    'EvaluationOutputs',
    'Task',
    'built_metric',
    'describe_dataset',
    'distinct_splits',
    'task_name',
]

_TASK_OF_SCOPE = {'mmdet': 'detection', 'mmseg': 'segmentation', 'mmpretrain': 'classification'}

S = TypeVar('S')


def task_name(cfg: Config) -> str:
    """Return ``'detection'``, ``'segmentation'`` or ``'classification'``, by a config's scope.

    Raises:
        InputError: If ``default_scope`` is absent or of another framework.
    """
    scope = cfg.get('default_scope')
    if scope not in _TASK_OF_SCOPE:
        known = ', '.join(f'{name!r} ({task})' for name, task in _TASK_OF_SCOPE.items())
        raise InputError(
            f'{cfg.filename} has default_scope={scope!r}, so that its task is unknown. '
            f'Set it to one of {known}'
        )
    return _TASK_OF_SCOPE[scope]


@dataclass(frozen=True)
class EvaluationOutputs:
    """What an evaluation writes beside printing its metrics.

    Attributes:
        out: JSON file for the metrics.
        out_pred: File or folder for the predictions.
        analysis: Folder for the worst images and, by task, curves and confusion matrix.
        show_dir: Folder for pictures of truth and prediction.
    """

    out: str | None = None
    out_pred: str | None = None
    analysis: str | None = None
    show_dir: str | None = None


@dataclass(frozen=True)
class CheckOptions:
    """What the check of a custom dataset goes by, and what it writes beside its report.

    Attributes:
        config: Config of the task to judge by. None takes a published one, which lets objects be
            without masks.
        fix: Folder for a clean copy of annotations, masks or lists; None writes none.
        read_images: Whether image files are read as a whole, which finds damage and duplicates.
    """

    config: str | None = None
    fix: str | Path | None = None
    read_images: bool = True


class Task(Protocol):
    """What the module ``task`` of each task package holds.

    Attributes:
        COUNTS: Beginning of the names of what is reported and is no metric, but a number of things.
        MAIN_METRICS: Names of the metrics that a short table shows.
        PREDICTIONS_IN_ONE_FILE: Whether ``--out-pred`` names a file, and not a folder.
    """

    COUNTS: str
    MAIN_METRICS: re.Pattern[str]
    PREDICTIONS_IN_ONE_FILE: bool

    def read_dataset(self, path: str | Path) -> Any:
        """Return what a ``dataset.yaml`` says, as ``datasets.description.DatasetDescription``.

        Raises:
            InputError: If it is missing, describes another task, or has fields that cannot be used.
        """

    def check_datasets(self, cfg: Config, splits: tuple[str, ...]) -> Mapping[str, int]:
        """Check the datasets that a config itself names, on one rank.

        Those of train may be changed in place, on every rank: to the same data in a form that takes
        less memory.

        Args:
            cfg: The config; with train among the splits it has a work dir.
            splits: Splits that will be read.

        Returns:
            Number of images that a file lists, by split, where there is such a file.

        Raises:
            InputError: If something is missing or malformed.
        """

    def apply_dataset(
        self,
        cfg: Config,
        data: str,
        splits: tuple[str, ...],
        classes: tuple[str, ...] | None = None,
    ) -> tuple[int, list[str]]:
        """Check a custom dataset on one rank, and put it into the config on every rank.

        Args:
            cfg: The config, changed in place.
            data: ``dataset.yaml``.
            splits: Splits that will be read.
            classes: Class names of the model to evaluate; None takes those of the data.

        Returns:
            Number of images in the first of ``splits``, and what the log should say.

        Raises:
            InputError: If the data cannot be used with this config.
        """

    def metric_names(self, cfg: Config, metric: Mapping[str, Any]) -> list[str] | None:
        """Return the names of what a metric reports, ``*`` for any ending; None if unknown.

        Raises:
            InputError: If the metric or the model does not have what is asked of it.
        """

    def configure_outputs(self, cfg: Config, outputs: EvaluationOutputs) -> None:
        """Change ``cfg`` so that an evaluation keeps or draws what ``outputs`` names.

        Raises:
            InputError: If the config's metric or model cannot give it.
        """

    def sample_artist(self, cfg: Config, dataset: Any, training: bool) -> Any:
        """Return what draws samples of a dataset, a ``datasets.browsing.SampleArtist``.

        Args:
            cfg: The config.
            dataset: Built from it; its pipelines are changed in place.
            training: Whether inputs are those of training.
        """

    def report(
        self,
        runner: Runner,
        metrics: dict[str, float],
        facts: dict[str, Any],
        outputs: EvaluationOutputs,
    ) -> None:
        """Write what ``outputs`` names, then print the metrics of an evaluation.

        In this order, so that a fault of printing loses no result.

        Args:
            runner: The Runner that evaluated.
            metrics: What it returned.
            facts: What else belongs into the file of metrics: config, checkpoint, seconds.
            outputs: Where to write what.

        Raises:
            InputError: If something cannot be written, after the rest is and the metrics are
                printed.
        """


def built_metric(runner: Runner, kind: type) -> Any:
    """Return the first metric of a class that a Runner has tested by; None if it has none."""
    found = (metric for metric in runner.test_evaluator.metrics if isinstance(metric, kind))
    return next(found, None)


def distinct_splits(prepared: Mapping[str, S]) -> dict[str, S]:
    """Return prepared splits; a test split that is val under another name is left out."""
    return {
        name: split
        for name, split in prepared.items()
        if name != 'test' or split is not prepared.get('val')
    }


def describe_dataset(
    path: Path, images: Mapping[str, int], classes: str, notes: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what the log says of a custom dataset.

    Args:
        path: The description.
        images: Number of images by split.
        classes: What to say of the classes.
        notes: By split, what the user should know though it stops nothing.
    """
    counts = ', '.join(f'{number} {name} images' for name, number in images.items())
    summary = f'custom dataset {path}: {counts}; {classes}'
    lines = [f'{name}: {text}' for name, texts in notes.items() for text in texts]
    return [summary, *dict.fromkeys(lines)]
