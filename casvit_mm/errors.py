"""The errors that the user can fix, and how their messages list names."""

from collections.abc import Sequence

__all__ = ['DivergedError', 'InputError', 'first_names']


class InputError(ValueError):
    """Something the user gave cannot work; the message says what, where and how to fix it.

    The command lines print the message without a traceback and exit with status 2.
    """


class DivergedError(InputError):
    """A model that predicts no numbers, after a training that diverged."""


def first_names(names: Sequence[str], number: int) -> str:
    """Return the first ``number`` names with commas between them, and dots for the others."""
    return ', '.join(names[:number]) + (', ...' if len(names) > number else '')
