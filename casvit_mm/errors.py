"""The one kind of error that is the user's to mend."""

__all__ = ['InputError']


class InputError(ValueError):
    """Something the user gave cannot work; the message names what, where and the cure.

    The command lines print the message without a traceback and exit with status 2.
    """
