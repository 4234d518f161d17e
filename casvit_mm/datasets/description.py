"""The YAML file in which a user describes a detection data set.

::

    root: .                      # counts from this file; may be left out
    train: {annotations: train.json, images: images}
    val:   {annotations: val.json, images: images}
    test:  {annotations: test.json, images: images}    # may be left out: val is used
    max_dets: 100                # raise it where images hold more objects
    classes: [cat, dog]          # may be left out; drops the others, or renames and joins:
                                 #   {pet: [cat, dog]}

``annotations`` is a COCO file or a folder of Pascal VOC XML files; ``list`` beside it names a text
file with the images to take; a list of such entries joins several sources. Instead of ``train`` and
``val``, ``data`` with ``split: {val: 0.2, test: 0.1, seed: 0}`` or ``split: {folds: 6, fold: 0}``
takes one set apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from casvit_mm.errors import InputError

__all__ = [
    'SPLITS',
    'DatasetDescription',
    'FoldSplit',
    'RandomSplit',
    'described_task',
    'read_description',
    'read_entries',
    'read_names',
    'read_splits',
    'refuse_other_task',
    'refuse_unknown',
]

S = TypeVar('S')


SPLITS = ('train', 'val', 'test')


_TRUTH = {'detection': 'annotations', 'segmentation': 'labels'}  # the field that tells the task


_NAMED = {task: f'{field}:' for task, field in _TRUTH.items()} | {'classification': 'images: alone'}


@dataclass(frozen=True)
class RandomSplit:
    """A split drawn once, by image, and written beside the description.

    Attributes:
        val: Share of the images for validation.
        test: Share of the images for testing; 0 for none.
        seed: Seed of the draw.
    """

    val: float
    test: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class FoldSplit:
    """One fold of a cross-validation: ``fold`` of ``folds`` blocks of the sorted names is val."""

    folds: int
    fold: int


@dataclass(frozen=True)
class DatasetDescription(Generic[S]):
    """What the YAML file of any task says.

    Attributes:
        path: The YAML file.
        root: Folder that relative paths count from.
        splits: Sources by split; ``train`` and ``val`` always, ``test`` where given. Where one set
            is taken apart, the same sources under every split that this makes.
    """

    path: Path
    root: Path
    splits: dict[str, tuple[S, ...]]

    def used_split(self, name: str) -> str:
        """Return ``name``, or ``'val'`` where there is no such split."""
        return name if name in self.splits else 'val'

    def used_splits(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the splits that take the place of ``names``, each once."""
        return tuple(dict.fromkeys(map(self.used_split, names)))


def read_splits(
    content: dict[str, Any],
    path: Path,
    needed: str,
    read_sources: Callable[[Any, str], tuple[S, ...]],
) -> tuple[dict[str, tuple[S, ...]], RandomSplit | FoldSplit | None]:
    """Read the sources of each split, or of the one set that is taken apart.

    Args:
        content: Fields of the description.
        path: The description.
        needed: What a split has, for the message where one is missing.
        read_sources: Reads what stands under the given name.

    Returns:
        Sources by split, as :class:`DetectionDescription` has them, and how they are taken apart.

    Raises:
        InputError: If train or val is missing, or ``split`` is malformed.
    """
    if 'data' in content or 'split' in content:
        split = _read_split(content, path)
        sources = read_sources(content['data'], 'data')
        has_test = isinstance(split, RandomSplit) and split.test > 0
        return dict.fromkeys(SPLITS if has_test else SPLITS[:2], sources), split
    splits = {}
    for name in SPLITS:
        if name in content:
            splits[name] = read_sources(content[name], name)
        elif name != 'test':
            raise InputError(
                f'{path} lacks {name!r}, with {needed}. To split one set by chance, name it under '
                'data: and add split: {val: 0.2}.'
            )
    return splits, None


def read_description(path: str | Path) -> dict[str, Any]:
    """Read the fields of a description of any task.

    Raises:
        InputError: If the file is missing, is not YAML, has a field twice, or holds no fields.
    """
    if not Path(path).is_file():
        raise InputError(f'data description {path} (--data) does not exist')
    try:
        content = yaml.load(Path(path).read_text(), _UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise InputError(f'{path} (--data) is not YAML: {error}') from error
    if not isinstance(content, dict):
        raise InputError(f'{path} (--data) must hold fields like "train:"; see docs/own_data.md')
    return content


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which the parent takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == 'tag:yaml.org,2002:merge':
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                mark = key_node.start_mark
                raise yaml.constructor.ConstructorError(None, None, f'{key!r} stands twice', mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def described_task(path: str | Path) -> str | None:
    """Return ``'detection'``, ``'segmentation'`` or ``'classification'``; None without a source.

    Raises:
        InputError: If the file cannot be read, or has sources of both kinds.
    """
    return _task_of(read_description(path), Path(path))


def refuse_other_task(content: dict[str, Any], task: str, path: Path) -> None:
    """Refuse a description whose sources are those of another task.

    Raises:
        InputError: Naming both tasks.
    """
    described = _task_of(content, path)
    if described is None or described == task:
        return
    cure = f'Use a {described} config with this data, or describe other data.'
    if described == 'classification':
        cure = f'Add {_NAMED[task]} to every source, or use a classification config with this data.'
    raise InputError(
        f'{path} (--data) describes {described} data: its sources name {_NAMED[described]}. '
        f'{task.capitalize()} needs {_NAMED[task]}. {cure}'
    )


def _task_of(content: dict[str, Any], path: Path) -> str | None:
    found = set()
    with_images = False
    for name in ('data', *SPLITS):
        value = content.get(name)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                found |= {task for task, field in _TRUTH.items() if field in entry}
                with_images |= 'images' in entry
    if len(found) > 1:
        raise InputError(
            f'{path} (--data) has sources with annotations: (detection) and with labels: '
            '(segmentation); describe the two in files of their own'
        )
    if found:
        return found.pop()
    return 'classification' if with_images else None


def refuse_unknown(content: dict, known: set[str], where: str) -> None:
    """Refuse fields that nothing reads.

    Raises:
        InputError: Naming the first, and those that are known.
    """
    unknown = sorted(str(key) for key in content if key not in known)
    if unknown:
        raise InputError(f'{where}: unknown field {unknown[0]!r}; known are {sorted(known)}')


def read_entries(
    value: Any, name: str, path: Path, needed: tuple[str, ...], optional: tuple[str, ...]
) -> list[dict[str, str]]:
    """Return the sources of a split, one or a list of them, as they are written.

    Args:
        value: What the description has under ``name``.
        name: The split.
        path: The description.
        needed: Fields that every source has.
        optional: Fields that it may have.

    Raises:
        InputError: If there is none, or a field is missing or unknown.
    """
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise InputError(f'{path}: {name!r} is an empty list; name a source or leave it out')
    for entry in entries:
        if not isinstance(entry, dict) or not set(needed) <= set(entry):
            raise InputError(f'{path}: {name!r} needs the fields {" and ".join(needed)}')
        refuse_unknown(entry, {*needed, *optional}, f'{path}, {name!r}')
    return [{field: str(written) for field, written in entry.items()} for entry in entries]


def read_names(value: list | dict, path: Path) -> tuple[str, ...]:
    """Return the names of classes that stand under ``classes``, without blanks around them.

    Raises:
        InputError: If one is no text to YAML, or stands twice.
    """
    for name in value:
        if not isinstance(name, (str, int, float)) or isinstance(name, bool):
            raise InputError(
                f'{path}: YAML takes a name under classes for {name!r}; put it in quotation marks'
            )
    names = tuple(str(name).strip() for name in value)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f'{path}: classes names {twice[0]!r} twice; every class needs its own name'
        )
    return names


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
    if 'folds' in split:
        refuse_unknown(split, {'folds', 'fold'}, f'{path}, split')
        folds, fold = split['folds'], split.get('fold', 0)
        if not (_is_int(folds) and _is_int(fold) and folds >= 2 and 0 <= fold < folds):
            raise InputError(
                f'{path}: split needs folds of at least 2 and fold from 0 to folds - 1, got '
                f'{folds!r} and {fold!r}'
            )
        return FoldSplit(folds, fold)
    refuse_unknown(split, {'val', 'test', 'seed'}, f'{path}, split')
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
    return RandomSplit(float(val), float(test), seed)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
