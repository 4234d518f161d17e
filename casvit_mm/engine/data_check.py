"""The check of a custom dataset of any task, as ``casvit-mm check-data`` runs it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from casvit_mm.config.paths import PREFIX
from casvit_mm.config.reading import missing_pretrained, read_config, read_recipe
from casvit_mm.console import loading
from casvit_mm.datasets.description import described_task
from casvit_mm.engine.next_commands import after_check, as_text
from casvit_mm.errors import InputError
from casvit_mm.registration import register_now
from casvit_mm.task import CheckOptions, task_name

__all__ = ['check_dataset']


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
        data: ``dataset.yaml``; its sources tell the task.
        out: Folder for what is written.
        config: Config of the same task to judge by. None takes the recipe for a first training,
            and lets objects of detection be without masks.
        fix: Folder for a clean copy of annotations, masks or lists; None writes none.
        read_images: Whether image files are read.

    Returns:
        Whether training would start; with ``fix``, whether it would with the copy.

    Raises:
        InputError: If the description or the config cannot be read, the copy not be made, or
            ``config`` is of another task than the data.
    """
    name = described_task(data)
    if name is None:
        raise InputError(
            f'{data} (--data) names no source under train: or data:. A source has images: and '
            'annotations: (detection), images: and labels: (segmentation), or images: alone '
            '(classification); see docs/reference/data_formats.md'
        )
    task = name
    cfg = None
    if config is not None:
        with loading(config):
            register_now()
            cfg = read_config(config)
            # The task of the config refuses data of another one, as it does before training.
            task = task_name(cfg)
    # Not by the task's own module, which imports what trainings need.
    check = import_module(f'casvit_mm.{task}.data.report').check_dataset
    good: bool = check(data, out, CheckOptions(config, fix, read_images))
    if good:
        usable = data if fix is None else Path(fix, 'dataset.yaml')
        judged_by = json.loads(Path(out, 'report.json').read_text())['config']
        cfg = cfg or read_recipe(judged_by.removeprefix(PREFIX))
        lines = after_check(usable, judged_by, missing_pretrained(cfg) is not None)
        print(f'\n{as_text(lines)}')
    return good
