"""Series of trainings, each in a process of its own, that an interruption only delays."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casvit_mm.cli import cli
from casvit_mm.distributed.processes import die_with_parent
from casvit_mm.errors import InputError

__all__ = ['run_once']


def run_once(result: Path, work: Callable[..., object], *args: object) -> dict[str, Any]:
    """Return the content of a JSON file, after writing it in a new process if it is not there.

    Args:
        result: The file.
        work: Function of a module, which writes the file; an InputError of it is printed.
        args: Its arguments.

    Raises:
        InputError: If ``work`` did not write the file.
    """
    if not result.is_file():
        # A new interpreter: what one training leaves behind must not reach the next.
        process = multiprocessing.get_context('spawn').Process(target=_run, args=(work, args))
        process.start()
        process.join()
        if not result.is_file():
            raise InputError(
                f'{result.parent.name} failed, see above. The same command goes on from there.'
            )
    return json.loads(result.read_text())


def _run(work: Callable[..., object], args: tuple[object, ...]) -> None:
    die_with_parent(signal.SIGTERM)
    cli(lambda: work(*args))
