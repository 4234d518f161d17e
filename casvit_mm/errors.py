"""The one kind of error that is the user's to mend, and how its message lists names."""

from collections.abc import Sequence

__all__ = ['InputError', 'first_names']


class InputError(ValueError):
    """Something the user gave cannot work; the message names what, where and the cure.

    The command lines print the message without a traceback and exit with status 2.
    """


def first_names(names: Sequence[str], number: int) -> str:
    """Return the first ``number`` names with commas between them, and dots for the others."""
    return ', '.join(names[:number]) + (', ...' if len(names) > number else '')
