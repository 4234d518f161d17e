"""The YAML file in which a user describes a custom dataset: what the three tasks share.

::

    root: .                  # folder that paths count from, itself counted from this file
    train: {...}             # a source, or a list of sources that are joined
    val: {...}
    test: {...}              # may be left out: val is used
    classes: [cat, dog]

The fields of a source tell the task: ``annotations`` beside ``images`` is detection, ``labels``
beside ``images`` is segmentation, ``images`` alone, or ``class_from: annotations``, is
classification. ``data`` with
``split: {val: 0.2, test: 0.1, seed: 0}`` or ``split: {folds: 6, fold: 0}`` takes the place of
``train`` and ``val`` and takes one set apart; ``group`` in it keeps images together. The other
fields are those of each task's ``data.description``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from casvit_mm.datasets.formats.registry import Described, describe_data
from casvit_mm.datasets.yaml_files import read_yaml
from casvit_mm.errors import InputError

__all__ = [
    'SPLITS',
    'DatasetDescription',
    'FoldSplit',
    'RandomSplit',
    'SourceFormat',
    'dataset_name',
    'described_task',
    'read_fields',
    'read_shared_fields',
]

S = TypeVar('S')

SPLITS = ('train', 'val', 'test')

# Of file systems; the path is joined to others.
_COMMON_NAMES = ('data', 'dataset')  # of the descriptions of many sets
_SUFFIXES = ('.yaml', '.yml', '.json')
_LONGEST_NAME, _LONGEST_PATH = 255, 2048
_SHOWN = 60

# The field of a source that tells the task.
_TASK_FIELDS = {'detection': 'annotations', 'segmentation': 'labels'}
_FIELD_NAMES = {
    'detection': 'annotations:',
    'segmentation': 'labels:',
    'classification': 'images: alone',
}


def dataset_name(path: str) -> str:
    """Return the name of a dataset for files and folders: of its description, or of its folder.

    Args:
        path: The description, or a folder or file of a labelling tool.
    """
    place = Path(path).absolute()
    name = place.stem if place.suffix in _SUFFIXES else place.name
    return re.sub(r'[^\w.-]+', '_', place.parent.name if name in _COMMON_NAMES else name) or 'data'


@dataclass(frozen=True)
class RandomSplit:
    """A split drawn once, by image, and written beside the description.

    Attributes:
        val: Share of the images for validation.
        test: Share of the images for testing; 0 for none.
        seed: Seed of the draw.
        group: What tells the images that stay together: ``'folder'``, or a regular expression with
            one group, searched in the path from the root. None for nothing.
    """

    val: float
    test: float = 0.0
    seed: int = 0
    group: str | None = None


@dataclass(frozen=True)
class FoldSplit:
    """One fold of a cross-validation: ``fold`` of ``folds`` is val."""

    folds: int
    fold: int
    group: str | None = None


@dataclass(frozen=True)
class DatasetDescription(Generic[S]):
    """What the YAML file of any task says.

    Attributes:
        path: The YAML file.
        root: Folder that relative paths count from.
        splits: Sources by split; ``train`` and ``val`` always, ``test`` where given. Where one set
            is taken apart, the same sources under every split that this makes.
        split: How the sources are taken apart; None where the splits are given.
        notes: What the log says of it where another tool has written it.
    """

    path: Path
    root: Path
    splits: dict[str, tuple[S, ...]]
    split: RandomSplit | FoldSplit | None
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def used_split(self, name: str) -> str:
        """Return ``name``, or ``'val'`` where there is no such split."""
        return name if name in self.splits else 'val'

    def used_splits(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the splits that take the place of ``names``, each once."""
        return tuple(dict.fromkeys(map(self.used_split, names)))


@dataclass(frozen=True)
class SourceFormat(Generic[S]):
    """How a task writes the sources of a split.

    Attributes:
        task: Its name.
        needed: Fields that every source has.
        optional: Fields that a source may have.
        read: Makes a source of its fields as written, the root, and its place for messages.
        meaning: What messages add where a split is missing.
    """

    task: str
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    read: Callable[[dict[str, str], Path, str], S]
    meaning: str = ''


def read_shared_fields(
    path: str | Path, sources: SourceFormat[S], fields: set[str]
) -> tuple[DatasetDescription[S], dict[str, Any]]:
    """Read a description up to the fields that one task alone has.

    Args:
        path: ``dataset.yaml``.
        sources: How the task writes sources.
        fields: The task's own fields, beside ``root``, ``train``, ``val``, ``test``, ``data`` and
            ``split``.

    Returns:
        What every description says, for the task to add its own fields; and all fields as written.

    Raises:
        InputError: If the file is missing, is not YAML, describes another task, or has unknown,
            missing or malformed fields.
    """
    path = Path(path)
    described = read_fields(path)
    content = described.fields
    _refuse_other_task(content, sources.task, path)
    _refuse_unknown(content, {'root', *SPLITS, 'data', 'split', *fields}, f'{path} (--data)')
    root = (path.parent / _read_text(content.get('root', '.'), f'{path} (--data), root')).resolve()
    if 'data' in content or 'split' in content:
        split = _read_split(content, path)
        taken_apart = _read_sources(content['data'], 'data', sources, root, path)
        has_test = isinstance(split, RandomSplit) and split.test > 0
        splits = dict.fromkeys(SPLITS if has_test else SPLITS[:2], taken_apart)
        return DatasetDescription(path, root, splits, split, notes=described.notes), content
    splits = {}
    for name in SPLITS:
        if name in content:
            splits[name] = _read_sources(content[name], name, sources, root, path)
        elif name != 'test':
            raise InputError(_describe_missing_split(path, name, sources))
    return DatasetDescription(path, root, splits, None, notes=described.notes), content


def _describe_missing_split(path: Path, name: str, sources: SourceFormat[Any]) -> str:
    plural = 's' if len(sources.needed) > 1 else ''
    message = f'{path} lacks {name!r}, with the field{plural} {" and ".join(sources.needed)}'
    if sources.meaning:
        message += f': {sources.meaning}'
    advice = 'To split one set by chance, name it under data: and add split: {val: 0.2}.'
    return f'{message}. {advice}'


def read_fields(path: str | Path) -> Described:
    """Return the fields of a description, or of what a tool wrote, as if it had been described.

    Args:
        path: ``dataset.yaml``, or a file or folder in one of the formats of
            :data:`casvit_mm.datasets.formats.registry.FORMATS`.

    Raises:
        InputError: If it is missing, or neither of the two.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f'data description {path} (--data) does not exist')
    if (found := describe_data(path)) is not None:
        return found
    content = read_yaml(path, f'{path} (--data)')
    if not isinstance(content, dict):
        raise InputError(
            f'{path} (--data) must hold fields like "train:"; see docs/reference/data_formats.md'
        )
    return Described(content, ())


def described_task(path: str | Path) -> str | None:
    """Return ``'detection'``, ``'segmentation'`` or ``'classification'``; None without a source.

    Raises:
        InputError: If the file cannot be read, or has sources of two tasks.
    """
    path = Path(path)
    return _task_of(read_fields(path).fields, path)


def _refuse_other_task(content: dict[str, Any], task: str, path: Path) -> None:
    described = _task_of(content, path)
    if described is None or described == task:
        return
    advice = f'Use a {described} config with this data, or describe other data.'
    if described == 'classification':
        field = _FIELD_NAMES[task]
        advice = f'Add {field} to every source, or use a classification config with this data.'
    raise InputError(
        f'{path} (--data) describes {described} data: its sources name {_FIELD_NAMES[described]}. '
        f'{task.capitalize()} needs {_FIELD_NAMES[task]}. {advice}'
    )


def _task_of(content: dict[str, Any], path: Path) -> str | None:
    found = set()
    with_images = False
    for name in ('data', *SPLITS):
        value = content.get(name)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                if entry.get('class_from') == 'annotations':
                    found.add('classification')
                else:
                    found |= {task for task, field in _TASK_FIELDS.items() if field in entry}
                with_images |= 'images' in entry
    if len(found) > 1:
        raise InputError(
            f'{path} (--data) has sources of several tasks: {", ".join(sorted(found))}; describe '
            'each in a file of its own'
        )
    if found:
        return found.pop()
    return 'classification' if with_images else None


def _refuse_unknown(content: dict, known: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in content if key not in known)
    if unknown:
        raise InputError(f'{where}: unknown field {unknown[0]!r}; known are {sorted(known)}')


def _read_sources(
    value: Any, name: str, sources: SourceFormat[S], root: Path, path: Path
) -> tuple[S, ...]:
    """Read the source of a split, or a list of sources."""
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise InputError(f'{path}: {name!r} is an empty list; name a source or leave it out')
    where = f'{path}, {name!r}'
    for entry in entries:
        if not isinstance(entry, dict) or not set(sources.needed) <= set(entry):
            needed = ' and '.join(sources.needed)
            raise InputError(f'{path}: {name!r} needs the fields {needed}')
        _refuse_unknown(entry, {*sources.needed, *sources.optional}, where)
    return tuple(
        sources.read(
            {field: _read_text(value, f'{where}, {field}') for field, value in entry.items()},
            root,
            where,
        )
        for entry in entries
    )


def _read_text(value: Any, where: str) -> str:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise InputError(f'{where} must be text, got {value!r}; put it in quotation marks')
    text = str(value)
    if len(text) > _LONGEST_PATH or max(map(len, os.fsencode(text).split(b'/'))) > _LONGEST_NAME:
        raise InputError(f'{where} is too long for a path: {text[:_SHOWN]!r} ...')
    return text


def _read_split(content: dict[str, Any], path: Path) -> RandomSplit | FoldSplit:
    given = [name for name in SPLITS if name in content]
    if 'data' not in content or 'split' not in content or given:
        raise InputError(
            f'{path}: data and split belong together, and replace train, val and test'
            + (f'; it has {", ".join(given)} as well' if given else '')
        )
    split = content['split']
    if not isinstance(split, dict):
        raise InputError(f'{path}: split must be like {{val: 0.2, test: 0.1, seed: 0}}')
    group = _read_group(split.get('group'), path)
    if 'folds' in split:
        _refuse_unknown(split, {'folds', 'fold', 'group'}, f'{path}, split')
        folds, fold = split['folds'], split.get('fold', 0)
        if not (_is_int(folds) and _is_int(fold) and folds >= 2 and 0 <= fold < folds):
            raise InputError(
                f'{path}: split needs folds of at least 2 and fold from 0 to folds - 1, got '
                f'{folds!r} and {fold!r}'
            )
        return FoldSplit(folds, fold, group)
    _refuse_unknown(split, {'val', 'test', 'seed', 'group'}, f'{path}, split')
    val, test, seed = split.get('val', 0), split.get('test', 0), split.get('seed', 0)
    if not (isinstance(val, (int, float)) and isinstance(test, (int, float)) and _is_int(seed)):
        raise InputError(
            f'{path}: split needs val and test as shares, like 0.2, and an integer seed'
        )
    if not (val > 0 and test >= 0 and val + test < 1):
        raise InputError(
            f'{path}: split must leave images to train on: val above 0, test 0 or above, both '
            f'together below 1; got {val} and {test}'
        )
    return RandomSplit(float(val), float(test), seed, group)


def _read_group(value: Any, path: Path) -> str | None:
    if value is None or value == 'folder':
        return value
    try:
        number = re.compile(value).groups
    except (re.error, TypeError) as error:
        problem = f'is no regular expression: {error}'
    else:
        if number == 1:
            return str(value)
        problem = f'has {number} groups in brackets, and one is needed; (?:...) makes none'
    raise InputError(
        f'{path}, split: group: {value!r} {problem}. Write folder, or an expression like '
        r"'(.+)_\d+', whose brackets match what names the group"
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
