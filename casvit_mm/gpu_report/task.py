"""What the process of a step is told, in a file in its folder."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from casvit_mm.gpu_report.plan import STEPS, Step
from casvit_mm.io import write_json

__all__ = ['PROBE', 'RESULT', 'TESTS_ON', 'Task']

RESULT = 'result.json'
_TASK = 'task.json'
# Variable that lets the tests marked gpu run on another device, to try them without a GPU.
TESTS_ON = 'CASVIT_GPU_TESTS_ON'
PROBE = 'environment'  # the step before all others, which only looks


@dataclass(frozen=True)
class Task:
    """What a step is told.

    Attributes:
        step: Name of it, or :data:`PROBE`.
        folder: Where its files go.
        device: ``'cuda'``, or ``'cpu'`` for a smoke run.
        half: The form's word for half precision on this GPU.
        data: Files of datasets, by name.
    """

    step: str
    folder: str
    device: str
    half: str = 'bf16'
    data: dict[str, str] = field(default_factory=dict)

    @property
    def smoke(self) -> bool:
        """Whether only the way is tried, on a CPU."""
        return self.device == 'cpu'

    @property
    def plan(self) -> Step:
        """The step."""
        return next(step for step in STEPS if step.name == self.step)

    def write(self) -> list[str]:
        """Put it into its folder, and return the command of the process that does it."""
        write_json(Path(self.folder, _TASK), asdict(self))
        return [sys.executable, '-m', 'casvit_mm.gpu_report.worker', self.folder]

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Return the task that lies in a folder."""
        return cls(**json.loads((folder / _TASK).read_text()))
