"""What has become of each step, in one file that survives every end of the command."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['Record', 'State', 'changes', 'fingerprint']

_FILE = 'state.json'
# What results belong to, by the names that the page has for them.
_BELONGS_TO = {
    'device': 'device',
    'gpu': 'GPU',
    'gpus': 'number of GPUs',
    'cpu': 'processor',
    'driver': 'driver',
    'cuda': 'CUDA',
    'torch': 'torch',
    'commit': 'commit',
}
_TRIES = 2  # of a step that fails, or is cut by its own limit


@dataclass
class Record:
    """What has become of one step.

    Attributes:
        status: ``'done'``, ``'failed'`` or ``'cut'``.
        fingerprint: What the result belongs to.
        seconds: That the last try took.
        tries: That failed, or were cut by the step's own limit.
        reason: Why it has no result.
        gpu: What the GPU did meanwhile; see :func:`casvit_mm.gpu_report.machine.watching`.
    """

    status: str
    fingerprint: dict[str, Any]
    seconds: float
    tries: int = 0
    reason: str = ''
    gpu: dict[str, Any] = field(default_factory=dict)


class State:
    """The records by step, read from a folder and written back after every change.

    Args:
        folder: Of the report.

    Raises:
        InputError: If the file there is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self.records: dict[str, Record] = {}
        if self._path.is_file():
            try:
                content = json.loads(self._path.read_text())['steps']
                self.records = {name: Record(**record) for name, record in content.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f'{self._path} is damaged ({error}). Name another --out, or remove that file: '
                    'every step is then run again'
                ) from error

    def put(self, name: str, record: Record) -> None:
        """Note what has become of a step, in one write."""
        self.records[name] = record
        steps = {step: asdict(one) for step, one in self.records.items()}
        write_json(self._path, dict(steps=steps))

    def tries(self, name: str, belongs_to: dict[str, Any]) -> int:
        """Return the failed tries of a step with what the next one would belong to."""
        record = self.records.get(name)
        return record.tries if record and record.fingerprint == belongs_to else 0

    def is_done(self, name: str, belongs_to: dict[str, Any]) -> bool:
        """Return whether a step has a result that belongs to this machine and code."""
        record = self.records.get(name)
        return bool(record and record.status == 'done' and record.fingerprint == belongs_to)

    def is_given_up(self, name: str, belongs_to: dict[str, Any]) -> bool:
        """Return whether a step has failed often enough to leave the time to others."""
        return self.tries(name, belongs_to) >= _TRIES


def fingerprint(environment: dict[str, Any]) -> dict[str, Any]:
    """Return what results belong to.

    Args:
        environment: Of :func:`casvit_mm.gpu_report.environment.describe`.
    """
    gpus = environment.get('nvidia_smi') or [{}]
    whole = {**environment, 'driver': gpus[0].get('driver_version')}
    return {key: whole.get(key) for key in _BELONGS_TO}


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return what differs between two fingerprints, as text."""
    return [
        f'{name} {before.get(key)} -> {now.get(key)}'
        for key, name in _BELONGS_TO.items()
        if before.get(key) != now.get(key)
    ]
