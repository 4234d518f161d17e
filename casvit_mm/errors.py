"""The errors that the user can fix, and how names that others gave are shown."""

import re
from collections.abc import Sequence

__all__ = ['DivergedError', 'InputError', 'escaped', 'first_names', 'plain_name']

# What changes a terminal or the order of letters instead of being seen: controls (of both halves of
# Latin-1) but line break and tab, line separators, directions, and halves of a character.
_HIDDEN = re.compile(
    '[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]'
)


class InputError(ValueError):
    """Something the user gave cannot work; the message says what, where and how to fix it.

    The command lines print the message without a traceback and exit with status 2.
    """


class DivergedError(InputError):
    """A model that predicts no numbers, after a training that diverged."""


def escaped(text: str) -> str:
    """Return a text of lines with what a terminal would obey, such as an escape, made visible."""
    return _HIDDEN.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def plain_name(name: object, length: int = 80) -> str:
    """Return a name on one line, as a table, a message or a picture may show it.

    Args:
        name: Of a class, a file or the like; whoever made the data has chosen it.
        length: Most characters; of a longer name, the middle is left out.
    """
    text = escaped(str(name)).replace('\n', '\\n').replace('\t', '\\t')
    if len(text) <= length:
        return text
    end = length // 3
    return f'{text[: length - end - 1]}…{text[-end:]}'


def first_names(names: Sequence[str], number: int) -> str:
    """Return the first ``number`` names with commas between them, and dots for the others."""
    listed = [plain_name(name, 160) for name in names[:number]]
    return ', '.join(listed) + (', ...' if len(names) > number else '')
