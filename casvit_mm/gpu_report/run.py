"""A report from its steps: each in a process of its own, until all are done or the time is over."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from casvit_mm.cli import job_command
from casvit_mm.distributed.limited import run_limited
from casvit_mm.errors import InputError
from casvit_mm.gpu_report.machine import check_gpu, watching
from casvit_mm.gpu_report.page import write_page
from casvit_mm.gpu_report.plan import STEPS, Step, choose, why_skipped
from casvit_mm.gpu_report.state import Record, State, changes, fingerprint
from casvit_mm.gpu_report.task import PROBE, RESULT, Task
from casvit_mm.io import check_writable

__all__ = ['Options', 'list_steps', 'report']

_PROBE_SECONDS = 300
_SMOKE_SECONDS = 3600  # of a step; a busy CPU takes its time
_LEAST = 20.0  # seconds; with less, no process gets to its work
_TAIL = 3  # lines of a log that tell why a step failed


@dataclass(frozen=True)
class Options:
    """What a report is asked for.

    Attributes:
        out: Its folder.
        limit: Minutes for all steps of this call; None takes what they need.
        smoke: Try every step on the CPU, shortened.
        only: Names of steps; None takes all. A step named here is tried again even if it failed
            before.
        data: Descriptions of datasets by name.
    """

    out: str
    limit: float | None = None
    smoke: bool = False
    only: Sequence[str] | None = None
    data: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and not 0 < self.limit < math.inf:
            raise InputError(f'--limit must be minutes above 0, got {self.limit}')
        choose(self.only)


def report(options: Options) -> int:
    """Run the steps that are not done yet, and write the page after each.

    Returns:
        The number of steps that failed in this call.

    Raises:
        InputError: If there is no GPU, ``out`` cannot be written or holds a damaged state, a
            dataset is not there, or torch does not reach the GPU.
    """
    end = time.monotonic() + 60 * options.limit if options.limit else math.inf
    if not options.smoke:
        check_gpu()
    check_writable({}, {'--out': options.out})
    data = {name: str(_existing(name, path)) for name, path in (options.data or {}).items()}
    out = Path(options.out).resolve()
    state = State(out)
    signal.signal(signal.SIGTERM, _end)
    environment = _look(out, options)
    run = _Run(out, options, state, environment, data, end)
    run.say_changes()
    return run.all_steps()


def list_steps() -> None:
    """Print the steps in their order."""
    for step in STEPS:
        print(f'{step.name:18s} {step.minutes:4g} min  {step.tells}')


def _existing(name: str, path: str) -> Path:
    if not Path(path).exists():
        raise InputError(f'--{name} {path} does not exist; name a dataset.yaml')
    return Path(path).resolve()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)  # on the way out what runs is ended


def _look(out: Path, options: Options) -> dict[str, Any]:
    """Return the environment, which a process of its own looks at: this one goes without torch.

    Raises:
        InputError: If that fails, or torch does not reach the GPU.
    """
    print('looking at this machine ...', flush=True)
    folder = _folder(out, PROBE)
    log = folder / 'log.txt'
    task = Task(PROBE, str(folder), _device(options))
    (folder / RESULT).unlink(missing_ok=True)
    status = run_limited(task.write(), log, _PROBE_SECONDS)
    if status != 0 or not (folder / RESULT).is_file():
        raise InputError(f'what is installed cannot be used: {_last_lines(log)} (all of it: {log})')
    environment: dict[str, Any] = json.loads((folder / RESULT).read_text())
    if not environment['capable']:
        raise InputError(
            f'there is a GPU, but torch {environment["torch"]} does not reach it: it is built '
            'without CUDA, or for a newer driver. https://pytorch.org names the package for yours'
        )
    return environment


def _folder(out: Path, name: str) -> Path:
    folder = out / 'steps' / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _device(options: Options) -> str:
    return 'cpu' if options.smoke else 'cuda'


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors='replace').splitlines()]
    return ' | '.join([line for line in lines if line][-_TAIL:]) or 'it printed nothing'


class _Run:
    """One call of the command.

    Args:
        out: Folder of the report.
        options: What was asked for.
        state: What earlier calls have done.
        environment: What results belong to.
        data: Descriptions of datasets by name.
        end: When the time is over, by the monotonic clock.
    """

    def __init__(
        self,
        out: Path,
        options: Options,
        state: State,
        environment: dict[str, Any],
        data: dict[str, str],
        end: float,
    ) -> None:
        self.out, self.options, self.state = out, options, state
        self.environment, self.data, self.end = environment, data, end
        self.belongs_to = fingerprint(environment)
        self.skipped: dict[str, str] = {}

    def say_changes(self) -> None:
        """Say what has changed since the results that are there, and that they are not used."""
        old = [one for one in self.state.records.values() if one.fingerprint != self.belongs_to]
        if old:
            told = '; '.join(changes(old[0].fingerprint, self.belongs_to))
            print(f'{len(old)} steps were run with something else and are run again: {told}')

    def all_steps(self) -> int:
        """Run what is left, and return how many steps failed."""
        steps = choose(self.options.only)
        left = [step for step in steps if self._is_left(step)]
        self._print_plan(left)
        failed = 0
        for number, step in enumerate(left, 1):
            needed, there = self._expected(step), self.end - time.monotonic()
            if there < max(_LEAST, 0.5 * needed):
                told = (
                    f'needs about {needed / 60:.1f} minutes, and {max(there, 0) / 60:.1f} were left'
                )
                self.skipped[step.name] = told
                continue
            print(f'[{number}/{len(left)}] {step.name}: {step.tells}', flush=True)
            record = self._one_step(step, there)
            self.state.put(step.name, record)
            failed += record.status == 'failed'
            print(
                f'    {record.status} after {record.seconds / 60:.1f} min. {record.reason}'.rstrip()
            )
            self._write()
        lines = self._write()
        print('\n'.join(['', *lines, '', f'{self.out / "report.md"}']))
        if self._waiting(steps):
            print(f'{self._waiting(steps)} steps are left: the same command goes on.')
        return failed

    def _is_left(self, step: Step) -> bool:
        """Return whether a step is to be run; why not is noted."""
        if self.state.is_done(step.name, self.belongs_to):
            return False
        why = why_skipped(step, self.environment, self.data)
        given_up = self.state.is_given_up(step.name, self.belongs_to) and not self.options.only
        if why is None and given_up:
            again = job_command('gpu_report', '--out', self.options.out, '--only', step.name)
            why = f'{self.state.records[step.name].reason} Tried twice; once more: {again}'
        if why is not None:
            self.skipped[step.name] = why
        return why is None

    def _waiting(self, steps: Sequence[Step]) -> int:
        done = [step for step in steps if self.state.is_done(step.name, self.belongs_to)]
        cannot = [
            step
            for step in steps
            if why_skipped(step, self.environment, self.data)
            or self.state.is_given_up(step.name, self.belongs_to)
        ]
        return len(steps) - len({step.name for step in (*done, *cannot)})

    def _expected(self, step: Step) -> float:
        """Return the seconds that a step is expected to take: as before, if it has run before."""
        record = self.state.records.get(step.name)
        if record and record.fingerprint == self.belongs_to and record.status == 'done':
            return record.seconds
        return 10.0 if self.options.smoke else 60 * step.minutes

    def _print_plan(self, steps: Sequence[Step]) -> None:
        """Print what is to be run and until when, and what is not, with the reason."""
        for name, why in self.skipped.items():
            print(f'without {name}: {why}')
        if not steps:
            print('nothing is left to run')
            return
        if self.options.smoke:
            print(f'smoke run of {len(steps)} steps on the CPU: its figures mean nothing')
            return
        print('minutes are guesses for a large GPU; each step is cut after some four times as many')
        passed = 0.0
        for step in steps:
            passed += step.minutes
            fits = self.options.limit is None or passed <= self.options.limit
            late = '' if fits else '  (another call, unless the others are faster)'
            print(f'  {step.name:18s} {step.minutes:4g} min, until {passed:5.1f}{late}')

    def _one_step(self, step: Step, there: float) -> Record:
        """Run a step in its process and return what has become of it."""
        folder = self._prepared(step)
        task = Task(
            step.name, str(folder), _device(self.options), self.environment['half'], self.data
        )
        own = _SMOKE_SECONDS if self.options.smoke else 60 * step.most
        most = min(own, there)
        tries = self.state.tries(step.name, self.belongs_to)
        ended = 'The command was ended meanwhile: the next call tries it again.'
        self.state.put(step.name, Record('cut', self.belongs_to, 0.0, tries, ended))
        start = time.monotonic()
        with watching() as seen:
            status = run_limited(task.write(), folder / 'log.txt', most)
        seconds = time.monotonic() - start
        record = Record('done', self.belongs_to, seconds, gpu=seen)
        if status is None:
            record.status, record.tries = 'cut', tries
            record.reason = 'The time was over: the next call tries it again.'
            if most < there:
                record.tries = tries + 1
                record.reason = f'It took longer than {step.most:g} minutes.'
        elif status or not (folder / RESULT).is_file():
            record.status, record.tries = 'failed', tries + 1
            record.reason = f'{_last_lines(folder / "log.txt")} (steps/{step.name}/log.txt)'
        return record

    def _prepared(self, step: Step) -> Path:
        """Return the folder of a step, without what belongs to something else.

        What a cut training of the same code left is kept: it goes on from there.
        """
        record = self.state.records.get(step.name)
        if record and record.fingerprint != self.belongs_to:
            shutil.rmtree(self.out / 'steps' / step.name, ignore_errors=True)
        folder = _folder(self.out, step.name)
        (folder / RESULT).unlink(missing_ok=True)
        return folder

    def _write(self) -> list[str]:
        """Write the page of what is there, and return the lines that sum it up."""
        done = {}
        for name in self.state.records:
            file = self.out / 'steps' / name / RESULT
            if self.state.is_done(name, self.belongs_to) and file.is_file():
                done[name] = json.loads(file.read_text())
        now = {
            name: record
            for name, record in self.state.records.items()
            if record.fingerprint == self.belongs_to
        }
        return write_page(self.out, self.environment, now, done, self.skipped)
