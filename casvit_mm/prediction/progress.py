"""The bar of a prediction on a terminal, and lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['Bars']

_PAUSE = 60.0  # seconds between two lines


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text('' if task.speed is None else f'{task.speed:.1f} img/s')


class Bars:
    """Shows how far images and videos are, by rank 0; a context.

    Args:
        speaks: Whether anything is shown.
        share: What is said of the share of this process; empty of one alone.
    """

    def __init__(self, speaks: bool, share: str = '') -> None:
        console = LiteralConsole(quiet=not speaks)
        self._share = share
        self._lines = speaks and not console.is_terminal
        self._progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
            disable=not (speaks and console.is_terminal),
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str, total: int | None) -> Callable[[], None]:
        """Begin a bar, and return what moves it on by one."""
        name += self._share
        task = self._progress.add_task(name, total=total)
        done, start = 0, time.monotonic()
        told = start

        def advance() -> None:
            nonlocal done, told
            done += 1
            self._progress.advance(task)
            now = time.monotonic()
            if self._lines and now - told > _PAUSE:
                told = now
                of = f' of {total}' if total else ''
                self.say(f'{name}: {done}{of}, {done / (now - start):.1f} img/s')

        return advance

    def say(self, text: str) -> None:
        """Print a line."""
        self._progress.console.print(text, soft_wrap=True)
