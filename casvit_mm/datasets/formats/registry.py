"""The annotation formats that are read, and which of them a file or folder is.

A format is recognised by what its files hold, never by a name that a user must give. A new one is
a module with a ``FORMAT`` (:class:`casvit_mm.datasets.formats.base.Format`) and its line in
:data:`FORMATS`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.datasets.formats import (
    class_folders,
    coco_folder,
    cvat,
    darknet,
    label_studio,
    labelme,
    lvis,
    open_images,
    supervisely,
    voc,
    yolo,
)
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.foreign import name_file, name_folder
from casvit_mm.errors import InputError

__all__ = ['FORMATS', 'Described', 'describe_data', 'read_source']

FORMATS: tuple[Format, ...] = (
    coco_folder.FORMAT,
    voc.FORMAT,
    yolo.FORMAT,
    darknet.FORMAT,
    labelme.FORMAT,
    cvat.FORMAT,
    label_studio.FORMAT,
    open_images.FORMAT,
    lvis.FORMAT,
    supervisely.FORMAT,
    class_folders.FORMAT,
)

# A set that is not split: a fifth of it, drawn once, is for validation.
_SPLIT = dict(val=0.2, seed=0)
_KINDS = 5  # of files that a message lists
_DESCRIPTIONS = ('.yaml', '.yml')


@dataclass(frozen=True)
class Described:
    """What was recognised at ``--data``.

    Attributes:
        fields: Those of a description of ours.
        notes: What the log says of it: the format, and what was decided.
    """

    fields: dict[str, Any]
    notes: tuple[str, ...]


def describe_data(path: Path) -> Described | None:
    """Return the description of a dataset that another tool has written.

    Args:
        path: File or folder as ``--data`` names it.

    Returns:
        None if it is a file that no format knows, such as a description of ours.

    Raises:
        InputError: If it is a folder that no format knows, if it is of several formats, or of one
            and cannot be used.
    """
    # Absolute, for the sources are not to be sought below the root once more.
    here = path.absolute()
    found = [(one, fields) for one in FORMATS if (fields := one.describe(here)) is not None]
    if len(found) > 1:
        names = ' and '.join(one.name for one, _ in found)
        raise InputError(
            f'{path} (--data) holds annotations in several formats: {names}. Name the one to take '
            'as annotations: in a dataset.yaml (docs/reference/data_formats.md), or take the '
            'other away.'
        )
    if not found:
        if path.is_dir() or path.suffix.lower() not in _DESCRIPTIONS:
            raise InputError(_describe_unknown(path))
        return None
    ((form, fields),) = found
    notes = [f'read as {form.name}', *fields.pop('notes', ())]
    if 'train' in fields and not {'val', 'test'} & set(fields):
        fields = dict(fields, data=fields.pop('train'))
    if 'data' in fields and 'split' not in fields:
        fields = dict(fields, split=dict(_SPLIT))
        notes.append(
            f'no split there: {_SPLIT["val"]:.0%} of the images are drawn once for validation'
        )
    return Described(fields, tuple(notes))


def read_source(files: SourceFiles) -> tuple[Format, Annotations]:
    """Read the annotations of one source in whatever format they are.

    Raises:
        InputError: If nothing of it can be read, or it may be of several formats.
    """
    form = _format_of(files)
    return form, form.read(files)


def _format_of(files: SourceFiles) -> Format:
    if files.names is not None and files.annotations.is_dir():
        return yolo.FORMAT  # nothing else has names in the description
    found = [one for one in FORMATS if one.holds(files.annotations)]
    if len(found) > 1:
        names = ' and '.join(one.name for one in found)
        raise InputError(f'{files.where} may be {names}; name a folder with files of one alone')
    if found:
        return found[0]
    # Their readers say what is wrong with what is there.
    return voc.FORMAT if files.annotations.is_dir() else coco_folder.FORMAT


def _describe_unknown(path: Path) -> str:
    """Return the message about a folder or file that no format knows."""
    known = ''.join(f'\n- {one.name}: {one.reads}' for one in FORMATS)
    advice = f'Read are:{known}\nor a dataset.yaml (docs/reference/data_formats.md).'
    if not path.is_dir():
        named = name_file(path)
        return f'{path} (--data) is {"of no known format." if named is None else named} {advice}'
    if ours := sorted(below.name for below in path.glob('*.y*ml')):
        return f'{path} (--data) is a folder with {", ".join(ours)} in it; name that file'
    kinds = Counter(
        below.suffix.lower() or 'without suffix' for below in path.rglob('*') if below.is_file()
    )
    seen = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(_KINDS)) or 'nothing'
    named = name_folder(path)
    told = '' if named is None else f'; {named}'
    return f'{path} (--data) is of no known format. It holds {seen}{told}. {advice}'
