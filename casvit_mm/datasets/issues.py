"""Issues of a dataset, and what each kind of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from casvit_mm.cli import job_command
from casvit_mm.errors import InputError

__all__ = [
    'DUPLICATE_KINDS',
    'FILE_KINDS',
    'FIXED_IN_TRAIN',
    'STOPS',
    'UNUSED_KINDS',
    'Issue',
    'IssueKind',
    'first_of',
    'is_trainable',
    'notes_of',
    'refuse_fatal',
    'unreadable_image',
]


@dataclass(frozen=True)
class Issue:
    """One issue at one place.

    Attributes:
        kind: Key of the ``ISSUE_KINDS`` of the task's ``data.issues``.
        where: The place, in few words, e.g. ``'annotation 12'``.
        message: A sentence naming place, cause and what to do.
        fatal: Whether the split cannot be trained on or evaluated.
        entry: The list of COCO format and the position in it that the issue is about; None where
            it is about more than one entry, or the annotations are in another format.
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
    fix: str = ''


STOPS = IssueKind('stops training')

# In folders that are named; casvit_mm.datasets.files counts them.
UNUSED_KINDS = {'files not used': IssueKind('neither learnt nor scored')}

# Of folders, lists and names, where a split is found by its files.
FILE_KINDS = {
    'missing folder': STOPS,
    'empty split': STOPS,
    'unusable list': STOPS,
    'listed image missing': IssueKind(STOPS.effect, 'leaves the line out'),
    'listed twice': IssueKind(STOPS.effect, 'keeps the first of the lines'),
    'ambiguous name': STOPS,
    **UNUSED_KINDS,
}

# casvit_mm.datasets.duplicates finds them.
DUPLICATE_KINDS = {
    'image twice in a split': IssueKind('weighs double'),
    'image in two splits': IssueKind('scores too good to be true', 'takes it out of train'),
    'near-duplicate across splits': IssueKind('scores too good to be true'),
}

# What --fix takes out of train, and out of no other split.
FIXED_IN_TRAIN = ('splits share images', 'image in two splits')


def unreadable_image(
    where: str,
    path: str,
    fault: str,
    more: str = '',
    fatal: bool = True,
    entry: tuple[str, int] | None = None,
) -> Issue:
    """Return the issue of an image that training could not read, or would read with parts lost.

    Args:
        where: The image, in few words.
        path: The file, for the message.
        fault: What is wrong, as an :class:`casvit_mm.datasets.image_scan.ImageScan` says.
        more: What else can be done.
        fatal: As in :class:`Issue`.
        entry: As in :class:`Issue`.
    """
    advice = more or f'Replace or remove it; {job_command("check_data")} --fix leaves it out.'
    message = f'image {path} cannot be read: {fault}. {advice}'
    return Issue('unreadable image', where, message, fatal, entry)


def first_of(messages: Sequence[str]) -> str:
    """Return the first message, and how many more there are."""
    if len(messages) == 1:
        return messages[0]
    more = f'{len(messages) - 1} more like it: {job_command("check_data")} lists them all.'
    return f'{messages[0].removesuffix(".")}. {more}'


def is_trainable(found: Mapping[str, Sequence[Issue]]) -> bool:
    """Return whether no issue, given by split, stops training."""
    return not any(issue.fatal for issues in found.values() for issue in issues)


def refuse_fatal(found: Mapping[str, Sequence[Issue]]) -> None:
    """Refuse data of which some split cannot be trained on or evaluated.

    Args:
        found: Issues by split.

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
