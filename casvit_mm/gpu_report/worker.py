"""The process of one step: ``python -m casvit_mm.gpu_report.worker FOLDER``.

It reads its task in the folder and leaves ``result.json`` there, whole or not at all.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from casvit_mm.cli import cli
from casvit_mm.gpu_report.task import PROBE, RESULT, Task
from casvit_mm.io import write_json

__all__: list[str] = []


def main() -> None:
    """Do the step of a folder."""
    folder = Path(sys.argv[1])
    task = Task.read(folder)
    if task.step == PROBE:
        from casvit_mm.gpu_report.environment import describe

        result: dict[str, Any] = describe(task.device)
    else:
        module, function = task.plan.work.split(':')
        result = getattr(import_module(f'casvit_mm.gpu_report.{module}'), function)(task)
    write_json(folder / RESULT, result)


if __name__ == '__main__':
    cli(main)
