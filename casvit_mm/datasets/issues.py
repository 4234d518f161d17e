"""The kinds of defects that detection data can have, and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from casvit_mm.errors import InputError

__all__ = ['Defect', 'Kind', 'first_of', 'refuse_fatal', 'remarks_of']


@dataclass(frozen=True)
class Defect:
    """One defect at one place.

    Attributes:
        kind: Key of :data:`KINDS`, or of its like for label maps.
        where: The place, in few words, e.g. ``'annotation 12'``.
        message: A sentence naming place, cause and cure.
        fatal: Whether the split cannot be trained on or evaluated.
        entry: The list of COCO format and the position in it that the defect is about; None where
            it is about more than one entry.
    """

    kind: str
    where: str
    message: str
    fatal: bool
    entry: tuple[str, int] | None = None


@dataclass(frozen=True)
class Kind:
    """What a kind of defect means.

    Attributes:
        effect: What it does to training, where training does not refuse it.
        mend: What ``--fix`` does; empty where only a person can mend it.
    """

    effect: str
    mend: str


def first_of(messages: Sequence[str]) -> str:
    """Return the first message, and how many more there are."""
    if len(messages) == 1:
        return messages[0]
    more = f'{len(messages) - 1} more like it: python tools/check_data.py lists them all.'
    return f'{messages[0].removesuffix(".")}. {more}'


def refuse_fatal(found: Mapping[str, Sequence[Defect]]) -> None:
    """Refuse data of which some split cannot be trained on or evaluated.

    Args:
        found: Defects by split.

    Raises:
        InputError: With the first message, and how many more there are.
    """
    fatal = [defect.message for defects in found.values() for defect in defects if defect.fatal]
    if fatal:
        raise InputError(first_of(fatal))


def remarks_of(defects: Sequence[Defect]) -> tuple[str, ...]:
    """Return one message per kind of defect."""
    messages: dict[str, list[str]] = {}
    for defect in defects:
        messages.setdefault(defect.kind, []).append(defect.message)
    return tuple(map(first_of, messages.values()))
