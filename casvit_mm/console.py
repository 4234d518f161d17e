"""What a person sees of a command at work: short lines, and on a terminal one that is live.

Rank 0 alone speaks. What packages print or warn of meanwhile is kept for the log file of the run.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any, TextIO, TypeVar

from casvit_mm.errors import escaped

__all__ = [
    'StatusLine',
    'counted',
    'duration',
    'keep_noise',
    'loading',
    'paused',
    'quiet_warnings',
    'say',
    'speaks',
    'speed',
    'step',
]

_WIDTH = 100  # of lines that go to no terminal
_SILENCE = 60.0  # seconds after which the status line is repeated there
_BAR = 30  # characters

T = TypeVar('T')

_shown: StatusLine | None = None
_last_said = 0.0
_noise: list[str] = []
_write_noise: Callable[[str], object] = _noise.append


def speaks() -> bool:
    """Return whether this process is the one of a run that prints: rank 0."""
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'


def say(text: str) -> None:
    """Print lines, above the live one if there is one.

    Long lines are wrapped between words; an indented one, such as a command to copy, is not.
    """
    global _last_said
    if not speaks():
        return
    width = shutil.get_terminal_size().columns if _on_terminal() else _WIDTH
    text = '\n'.join(_wrapped(line, width) for line in escaped(text).splitlines())
    if _shown is not None and _shown.live is not None:
        from rich.text import Text

        _shown.live.console.print(Text(text), soft_wrap=True)
    else:
        print(text, file=_stdout(), flush=True)
    _last_said = time.monotonic()


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width or line.startswith('  '):
        return line
    return textwrap.fill(
        line, width, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False
    )


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show that a longer step is at work, and keep what packages print in it for the log file.

    Args:
        text: What is done, such as ``'reading the annotations'``.
    """
    start = time.monotonic()
    with ExitStack() as stack:
        line = _shown or stack.enter_context(StatusLine(text))
        before = line.now
        line.show(text)
        stack.callback(setattr, line, 'now', before)
        stack.enter_context(redirect_stdout(_Noise(sys.stdout)))
        if line.live is None:
            say(text)
        yield
    seconds = time.monotonic() - start
    if line.live is not None and seconds >= 1:
        say(f'{text} ({duration(seconds)})')


def loading(what: str, packages: str = 'torch and OpenMMLab') -> AbstractContextManager[None]:
    """Say what a command is about before its imports, which take seconds.

    Args:
        what: Its first word: a config, a checkpoint, a folder.
        packages: What is imported.
    """
    return step(f'{what}: loading {packages}')


def counted(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield images, and count them on the status line.

    Args:
        items: What is counted.
        title: What is done with them.
        total: Their number.
    """
    with ExitStack() as stack:
        line = _shown
        if line is None:
            line = stack.enter_context(StatusLine(title))
        stack.callback(setattr, line, 'now', line.now)
        advance = line.counter(title, total)
        for item in items:
            yield item
            advance()


@contextmanager
def paused() -> Iterator[None]:
    """Take the live line away while something else prints, such as a table of rich."""
    live = _shown and _shown.live
    if live:
        live.stop()
    try:
        yield
    finally:
        if live:
            live.start()


class StatusLine:
    """What goes on now, on one line: live on a terminal, elsewhere said again every minute.

    Args:
        head: What is done.

    Attributes:
        now: What the line shows; see :meth:`show`.
        live: The live line of rich; None where there is no terminal.
    """

    def __init__(self, head: str) -> None:
        self.now: tuple[str, str, float | None] = (head, '', None)
        self.live: Any = None
        self._since = time.monotonic()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, head: str, tail: str = '', share: float | None = None) -> None:
        """Change the line.

        Args:
            head: What is done.
            tail: How it goes; None of it where only time passes.
            share: Of the work that is done, from 0 to 1, drawn as a bar between both.
        """
        self.now, self._since = (head, tail, share), time.monotonic()

    def count(self, head: str, done: int, total: int | None, seconds: float, images: int) -> None:
        """Show how many of a number of things are done.

        Args:
            head: What is done.
            done: Things that are.
            total: All of them; None where nobody knows.
            seconds: That they have taken.
            images: In the things that are done.
        """
        tail = [f'{done}{f"/{total}" if total else ""}', speed(images, seconds)]
        if total:
            tail.append(f'{duration(seconds / max(done, 1) * (total - done))} left')
        self.show(head, '  '.join(tail), done / total if total else None)

    def counter(self, head: str, total: int | None) -> Callable[[], None]:
        """Begin to count images, and return what counts one more; see :meth:`count`."""
        done, start = 0, time.monotonic()

        def advance() -> None:
            nonlocal done
            done += 1
            self.count(head, done, total, time.monotonic() - start, done)

        return advance

    def __enter__(self) -> StatusLine:
        """Show it."""
        global _shown, _last_said
        if not speaks():
            return self
        _shown, _last_said = self, time.monotonic()
        # An exported file is served without rich, too.
        if _on_terminal() and find_spec('rich') is not None:
            self.live = _live(self)
            self.live.start()
        else:
            self._thread = threading.Thread(target=self._repeat, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away; what was said stays."""
        global _shown
        if _shown is self:
            _shown = None
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        if self.live is not None:
            self.live.stop()

    def _repeat(self) -> None:
        while not self._done.wait(1):
            if time.monotonic() - _last_said >= _SILENCE:
                say(self.text())

    def text(self) -> str:
        """Return the line as it is said; how long it stands, where that is long."""
        head, tail, _ = self.now
        stands = time.monotonic() - self._since
        return '  '.join(
            [head, *[tail] * bool(tail), *[f'for {duration(stands)}'] * (stands >= _SILENCE)]
        )

    def __rich__(self) -> Any:
        """Return the line as rich draws it."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        head, tail, share = self.now
        tail = tail or duration(time.monotonic() - self._since)
        room = min(_BAR, shutil.get_terminal_size().columns - len(head) - len(tail) - 3)
        parts: list[Any] = [escaped(head)]
        if share is not None and room >= 5:
            parts.append(ProgressBar(total=1, completed=share, width=room))
        line = Table.grid(padding=(0, 1, 0, 0))
        for _ in range(len(parts) + 1):
            line.add_column(no_wrap=True)
        line.add_row(*parts, escaped(tail))
        return line


def _live(line: StatusLine) -> Any:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=_stdout(), markup=False, emoji=False, highlight=False)
    return Live(line, console=console, transient=True, refresh_per_second=4)


def speed(images: int, seconds: float) -> str:
    """Return a speed as a person says it: ``21.5 img/s``, and ``3.2 s/img`` where that is more."""
    if 0 < images < seconds:
        return f'{seconds / images:.1f} s/img'
    return f'{images / max(seconds, 1e-9):.1f} img/s'


def duration(seconds: float) -> str:
    """Return a time as a person says it: ``8 s``, ``4:10``, ``1:12:03``."""
    if seconds < 60:
        return f'{seconds:.0f} s'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if hours else f'{minutes}:{rest:02d}'


def keep_noise(write: Callable[[str], object]) -> None:
    """Let what packages print and warn of be written to a log file, also what they did before."""
    global _write_noise
    _write_noise = write
    while _noise:
        write(_noise.pop(0))


def quiet_warnings() -> None:
    """Keep Python's warnings of packages for the log file; those of our own categories are said.

    With ``-W`` or ``PYTHONWARNINGS`` they are shown as Python shows them.
    """
    if not sys.warnoptions:
        warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if category.__module__.partition('.')[0] == 'casvit_mm':
        say(f'warning: {message}')
    else:
        _write_noise(warnings.formatwarning(message, category, filename, lineno))


class _Noise(io.TextIOBase):
    """Takes the place of a stream whose writers are not to be seen."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        _write_noise(text)
        return len(text)


def _stdout() -> TextIO:
    """Return the stream of what is said, whatever stands before it."""
    stream = sys.stdout
    while isinstance(stream, _Noise):
        stream = stream.beneath
    return stream


def _on_terminal() -> bool:
    return _stdout().isatty() and os.environ.get('TERM') != 'dumb'


def _leave_terminal() -> None:
    """Let a process that was forked write past the live line: its lock may be held for ever."""
    global _shown
    _shown = None
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        setattr(sys, name, getattr(stream, 'rich_proxied_file', stream))


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave_terminal)
