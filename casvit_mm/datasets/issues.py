"""The kinds of issues that detection data can have, and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from casvit_mm.errors import InputError

__all__ = ['Issue', 'IssueKind', 'first_of', 'notes_of', 'refuse_fatal']


@dataclass(frozen=True)
class Issue:
    """One issue at one place.

    Attributes:
        kind: Key of :data:`ISSUE_KINDS`, or of its like for label maps.
        where: The place, in few words, e.g. ``'annotation 12'``.
        message: A sentence naming place, cause and cure.
        fatal: Whether the split cannot be trained on or evaluated.
        entry: The list of COCO format and the position in it that the issue is about; None where
            it is about more than one entry.
    """

    kind: str
    where: str
    message: str
    fatal: bool
    entry: tuple[str, int] | None = None


@dataclass(frozen=True)
class IssueKind:
    """What a kind of issue means.

    Attributes:
        effect: What it does to training, where training does not refuse it.
        fix: What ``--fix`` does; empty where only a person can fix it.
    """

    effect: str
    fix: str


def first_of(messages: Sequence[str]) -> str:
    """Return the first message, and how many more there are."""
    if len(messages) == 1:
        return messages[0]
    more = f'{len(messages) - 1} more like it: python tools/check_data.py lists them all.'
    return f'{messages[0].removesuffix(".")}. {more}'


def refuse_fatal(found: Mapping[str, Sequence[Issue]]) -> None:
    """Refuse data of which some split cannot be trained on or evaluated.

    Args:
        found: Defects by split.

    Raises:
        InputError: With the first message, and how many more there are.
    """
    fatal = [issue.message for issues in found.values() for issue in issues if issue.fatal]
    if fatal:
        raise InputError(first_of(fatal))


def notes_of(issues: Sequence[Issue]) -> tuple[str, ...]:
    """Return one message per kind of issue."""
    messages: dict[str, list[str]] = {}
    for issue in issues:
        messages.setdefault(issue.kind, []).append(issue.message)
    return tuple(map(first_of, messages.values()))
