"""The parser of a job: help in the words that the user typed, a wrong word with the right one."""

from __future__ import annotations

import difflib
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter, _ActionsContainer
from collections.abc import Iterable, Sequence
from typing import NoReturn

from casvit_mm.cli import job_command
from casvit_mm.config.options import ConfigOptions
from casvit_mm.config.paths import PREFIX, config_path

__all__ = [
    'JobParser',
    'add_config_options',
    'add_launcher',
    'check_config',
    'describe',
    'nearest',
    'part_config',
]


class JobParser(ArgumentParser):
    """argparse's, for one job.

    Args:
        job: Name of its module.
        text: Its help; ``casvit-mm JOB`` in it becomes the command that the user has typed.
    """

    def __init__(self, job: str, text: str) -> None:
        command = job_command(job)
        super().__init__(
            prog=command,
            description=text.replace(f'casvit-mm {job.replace("_", "-")}', command),
            formatter_class=RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, with the right word that is nearest, and exit with status 2."""
        choices = [str(word) for action in self._actions for word in action.choices or ()]
        for wrong, right in (
            (r"invalid choice: '(.+?)'", choices),
            (r'unrecognized arguments: (--[^\s=]+)', self._option_string_actions),
        ):
            if found := re.search(wrong, message):
                message += nearest(found[1], right)
        self.print_usage(sys.stderr)
        self.exit(2, f'\nerror: {message}\n')


def part_config(files: Sequence[str]) -> tuple[str | None, list[str]]:
    """Part the config, if it is named first, from the files after it."""
    first, *others = files
    is_config = '::' in first or first.endswith(('.py', '.json', '.yaml', '.yml'))
    return (first, others) if is_config else (None, [first, *others])


def check_config(config: str | None) -> None:
    """Refuse a config that is not there, before anything is loaded that takes seconds.

    Those of another package, ``mmdet::...``, are looked for later.

    Raises:
        InputError: If it is not there, naming near ones of ours.
    """
    if config is not None and ('::' not in config or config.startswith(PREFIX)):
        config_path(config)


def describe(text: str) -> str:
    """Return the first line of a help text, what a list says of the job."""
    return text.partition('\n')[0]


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a question for the word that was meant, nothing if none is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f'; did you mean {near[0]!r}?' if near else ''


def add_config_options(parser: _ActionsContainer) -> None:
    """Add ``--cfg-options``, entries of a config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='entries of the config',
    )


def add_launcher(parser: _ActionsContainer) -> None:
    """Add ``--launcher``, of jobs that several processes may share."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='of several processes; tools/dist_*.sh and tools/slurm_*.sh set it',
    )
