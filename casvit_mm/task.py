"""What training and evaluation leave to the task of a config: its data, metrics and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm.errors import InputError

__all__ = [
    'TASK_OF_SCOPE',
    'Task',
    'Wanted',
    'describe_own_data',
    'distinct_splits',
    'require_metric',
]

# By the default scope of a config.
TASK_OF_SCOPE = {'mmdet': 'detection', 'mmseg': 'segmentation', 'mmpretrain': 'classification'}


S = TypeVar('S')


@dataclass(frozen=True)
class Wanted:
    """What an evaluation is asked to do beside printing its figures.

    Attributes:
        out: JSON file for the figures.
        out_pred: File or folder for the predictions.
        analysis: Folder for a closer look at the errors.
        show_dir: Folder for pictures of truth and prediction.
        slide: Side in pixels of the window that large images are read by; None reads them whole.
    """

    out: str | None = None
    out_pred: str | None = None
    analysis: str | None = None
    show_dir: str | None = None
    slide: int | None = None


class Task(Protocol):
    """What each task has in its module ``task``.

    Attributes:
        PREDICTIONS_IN_ONE_FILE: Whether ``--out-pred`` names a file, and not a folder.
    """

    PREDICTIONS_IN_ONE_FILE: bool

    def check_datasets(self, cfg: Config, splits: tuple[str, ...]) -> object:
        """Check the data that a config names itself.

        Raises:
            InputError: If something is missing or malformed.
        """

    def put_own_data(
        self,
        cfg: Config,
        data: str,
        splits: tuple[str, ...],
        classes: tuple[str, ...] | None = None,
    ) -> tuple[int, list[str]]:
        """Check splits of own data on one rank, and put them into the config on every rank.

        Args:
            cfg: The config, changed in place.
            data: ``dataset.yaml``.
            splits: Splits that will be read.
            classes: Class names of the model to evaluate; None takes those of the data.

        Returns:
            Images in the first of ``splits``, and what the log should say.

        Raises:
            InputError: If the data cannot be used with this config.
        """

    def ask_for(self, cfg: Config, wanted: Wanted) -> None:
        """Make an evaluation keep or draw what is wanted of it, by changing ``cfg``.

        Raises:
            InputError: If the config's metric or model cannot give it.
        """

    def report(
        self, runner: Runner, metrics: dict[str, float], facts: dict[str, Any], wanted: Wanted
    ) -> None:
        """Print the figures of an evaluation, then write what is wanted of it.

        Args:
            runner: The Runner that evaluated.
            metrics: Its figures.
            facts: What else belongs into the file of figures: config, checkpoint, seconds.
            wanted: Where to write what.

        Raises:
            InputError: If something cannot be written, after the rest is.
        """


def require_metric(cfg: Config, kind: str) -> None:
    """Refuse a config whose test metric is not the one that keeps predictions.

    Raises:
        InputError: Naming both.
    """
    found = cfg.test_evaluator.get('type')
    if found != kind:
        raise InputError(
            f'--out-pred and --analysis need test_evaluator.type={kind}; {cfg.filename} has '
            f'{found!r}'
        )


def distinct_splits(prepared: Mapping[str, S]) -> dict[str, S]:
    """Return prepared splits without a test split that is val under another name."""
    return {
        name: split
        for name, split in prepared.items()
        if name != 'test' or split is not prepared.get('val')
    }


def describe_own_data(
    path: Path, images: Mapping[str, int], classes: str, remarks: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what the log says of own data.

    Args:
        path: The description.
        images: Number of them by split.
        classes: What to say of the classes.
        remarks: By split, what the user should know though it stops nothing.
    """
    counts = ', '.join(f'{number} {name} images' for name, number in images.items())
    notes = [f'own data {path}: {counts}; {classes}']
    lines = [f'{name}: {text}' for name, texts in remarks.items() for text in texts]
    return notes + list(dict.fromkeys(lines))
