"""The log of a run: everything goes into its file, and to the console what is ours."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

from mmengine.logging import MMLogger

from casvit_mm.console import keep_noise, say, speaks
from casvit_mm.errors import escaped

__all__ = ['ConsoleHandler', 'log_to_console']

_OURS = Path(__file__).parents[1]
_FRAMEWORKS = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')


class ConsoleHandler(logging.Handler):
    """Says what our own code, or a project of the user, logs; of packages the errors alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f'{record.levelname.lower()}: {text}'
        if record.levelno >= logging.ERROR and not speaks():
            print(escaped(text), file=sys.stderr, flush=True)
        elif record.levelno >= logging.ERROR or not _is_foreign(Path(record.pathname)):
            say(text)


def _is_foreign(path: Path) -> bool:
    """Return whether a file is of an installed package, or of a framework wherever that is."""
    if path.is_relative_to(_OURS):
        return False
    if {'site-packages', 'dist-packages'} & set(path.parts):
        return True
    files = (getattr(sys.modules.get(name), '__file__', None) for name in _FRAMEWORKS)
    return any(path.is_relative_to(Path(file).parent) for file in files if file)


def log_to_console(logger: MMLogger) -> None:
    """Let a logger of MMEngine speak by the console, in place, and keep its file fit to read."""
    kept = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    for handler in kept:
        handler.addFilter(_escape)
        _say_once_if_full(handler)
        keep_noise(partial(_write, handler))
    logger.handlers = [ConsoleHandler(logging.INFO), *kept]


def _write(file: logging.FileHandler, text: str) -> None:
    """Write what a package has printed, as it is."""
    if file.stream is None or file.stream.closed:
        return
    try:
        file.stream.write(escaped(text))
        file.flush()
    except OSError:
        file.handleError(logging.makeLogRecord({}))


def _say_once_if_full(handler: logging.FileHandler) -> None:
    """Say that a log file cannot be written by one message, not by a traceback for each line."""
    tell = handler.handleError
    told: list[OSError] = []

    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            tell(record)
        elif not told:
            told.append(error)
            print(
                f'{handler.baseFilename}: {error.strerror}; it lacks what follows', file=sys.stderr
            )

    handler.handleError = handle_error  # type: ignore[method-assign]


def _escape(record: logging.LogRecord) -> bool:
    """Make visible what names of the data could tell a terminal; keep every record."""
    message = record.getMessage()
    text = escaped(message)
    if record.module == 'logger_hook':  # metrics of classes, on one line
        text = text.replace('\n', '\\n')
    if text != message:
        record.msg, record.args = text, ()
    return True
