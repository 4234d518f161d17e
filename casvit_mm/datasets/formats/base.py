"""What an annotation format gives: how it is recognised, described and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ['Annotations', 'Format', 'SourceFiles']


@dataclass(frozen=True)
class SourceFiles:
    """Where one source of a split lies.

    Attributes:
        annotations: File or folder of the annotations.
        images: Folder that ``file_name`` counts from.
        where: What messages call the annotations, with split and description.
        names: Classes by their numbers, where the files hold numbers alone; None elsewhere.
        image_list: Text file that ``listed`` comes from; None takes all images.
        listed: Its lines, without blanks around them.
        subset: Name of the part of the file to take; None takes all.
    """

    annotations: Path
    images: Path
    where: str = 'annotations'
    names: tuple[str, ...] | None = None
    image_list: Path | None = None
    listed: tuple[str, ...] | None = None
    subset: str | None = None


@dataclass
class Annotations:
    """What a format says about the images of one source.

    Attributes:
        content: ``images``, ``annotations`` and ``categories`` of COCO format, not checked yet. An
            annotation may have ``source``, its place in the files for messages.
        open_classes: Whether the categories are those that occur, and not a list that somebody
            wrote down.
        unreadable: What could not be read, as (place, message); training refuses it.
        skipped: What is well-formed and not learnt here, such as lines, as (place, message with
            the number); training goes on.
        classes: By ``file_name``, what is said of an image as a whole; for classification alone.
        is_label: Whether a file was read, by its path; of others in the folders of annotations and
            images a note is made. None where ``annotations`` is one file.
    """

    content: dict[str, Any]
    open_classes: bool = False
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=dict)
    is_label: Callable[[Path], bool] | None = None


@dataclass(frozen=True)
class Format:
    """An annotation format.

    Attributes:
        name: What the log calls it.
        reads: What is read, for the message about a file or folder that no format knows.
        holds: Whether a file or folder that a description names as ``annotations`` is of this
            format, by its content.
        describe: Returns the fields of a description of ours for a file or folder named by
            ``--data``: ``train``, ``val`` and ``test``, or ``data`` alone, where the format knows
            no split; and perhaps ``notes``, what the log should say. None if it is not of this
            format. An ``InputError`` if it is, and cannot be used.
        read: Reads one source. An ``InputError`` if nothing of it can be read.
        reads_lists: Whether ``read`` itself takes the listed images alone; what the others read is
            reduced to them afterwards.
    """

    name: str
    reads: str
    holds: Callable[[Path], bool]
    describe: Callable[[Path], dict[str, Any] | None]
    read: Callable[[SourceFiles], Annotations]
    reads_lists: bool = False
