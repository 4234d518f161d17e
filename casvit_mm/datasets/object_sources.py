"""From the sources that a description names to the COCO content of one split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit_mm.datasets.description import FoldSplit, RandomSplit
from casvit_mm.datasets.files import IMAGE_SUFFIXES, describe_unused, find_images, read_list, stem
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.corners import boxes_from_corners
from casvit_mm.datasets.formats.packed import no_collection
from casvit_mm.datasets.formats.registry import read_source
from casvit_mm.datasets.object_description import ObjectDescription, Source
from casvit_mm.datasets.splitting import take_apart
from casvit_mm.errors import InputError

__all__ = ['LoadedSplit', 'join_splits', 'load_split']


@dataclass
class LoadedSplit:
    """One split as COCO content.

    Attributes:
        content: ``images``, ``annotations`` and ``categories``, not checked yet.
        images: Folder that ``file_name`` counts from.
        where: What the content was read from, for messages.
        open_classes: Whether the categories are those that occur, as in VOC files, and not a list
            that somebody wrote down.
        unreadable: What could not be read, as (place, message); training refuses it.
        unused: Files that no reader takes, as (folder, message).
        skipped: Objects of kinds that are not learnt, as (place, message).
        dropped: Annotations left out by ``classes``, by category.
        notes: How the set was taken apart; of train alone.
    """

    content: dict[str, Any]
    images: Path
    where: str
    open_classes: bool
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    unused: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@no_collection()
def load_split(data: ObjectDescription, name: str) -> LoadedSplit:
    """Read, join and filter the sources of a split.

    Args:
        data: The description.
        name: ``'train'``, ``'val'`` or ``'test'``; val stands in for a test split that is not
            there.

    Raises:
        InputError: If a source is missing or not COCO or VOC at all, or the sources or ``classes``
            do not fit together. Single faults are collected instead: in ``unreadable``, or left in
            the content for its checks.
    """
    name = data.used_split(name)
    sources = data.splits[name]
    parts = [_load_source(source, name, data) for source in sources]
    notes: tuple[str, ...] = ()
    if data.split is not None:
        notes = _keep_split(parts, name, data, data.split)
    split = parts[0] if len(parts) == 1 else join_splits(parts, name, data)
    split.notes = notes if name == 'train' else ()
    if data.classes is not None:
        _apply_classes(split, data.classes, data)
    return split


def _load_source(source: Source, name: str, data: ObjectDescription) -> LoadedSplit:
    kind = 'folder' if source.annotations.is_dir() else 'file'
    where = f'annotation {kind} {source.annotations} ({name} of {data.path})'
    listed = None
    if source.image_list is not None:
        listed = tuple(read_list(source.image_list, f'{name} of {data.path}'))
    if kind == 'folder' and not source.images.is_dir():
        raise InputError(f'{where}: its image folder {source.images} does not exist')
    form, found = read_source(
        SourceFiles(
            source.annotations,
            source.images,
            where,
            data.names,
            source.image_list,
            listed,
            source.subset,
        )
    )
    if kind == 'file':
        if name == 'test':  # whose images may be without labels
            found.content.setdefault('annotations', [])
        if data.boxes == 'corners':
            boxes_from_corners(found.content)
    part = LoadedSplit(found.content, source.images, where, found.open_classes, found.unreadable)
    part.unused, part.skipped = _count_unused(source, found.is_label), found.skipped
    if found.classes:
        message = (
            f'{len(found.classes)} image(s) have classes of their own (tags, flags or choices), '
            'which objects and masks do not need; class_from: annotations beside it is for those; '
            f'first {min(found.classes)}'
        )
        part.skipped.append((str(source.annotations), message))
    if listed is not None and not form.reads_lists:
        _keep_listed(part, list(listed), source)
    return part


def _count_unused(
    source: Source, is_label: Callable[[Path], bool] | None = None
) -> list[tuple[str, str]]:
    """Return what is to be said of files that are neither image nor, by ``is_label``, label."""
    if is_label is None and source.annotations.is_relative_to(source.images):
        return []  # a folder of everything
    taken: set[Path] = set()

    def is_used(path: Path) -> bool:
        if not taken:  # of a folder of images alone nobody asks
            taken.update(path for paths in find_images(source.images).values() for path in paths)
        return path in taken or bool(is_label and is_label(path))

    if is_label is None:
        return list(describe_unused([source.images], is_used, IMAGE_SUFFIXES))
    return list(describe_unused([source.images, source.annotations], is_used))


def _require_tables(part: LoadedSplit) -> None:
    """Refuse content that cannot be filtered or joined, since its entries have no names or ids."""
    for section, keys in (
        ('images', ('id', 'file_name')),
        ('annotations', ('image_id', 'category_id')),
        ('categories', ('id', 'name')),
    ):
        table = part.content.get(section)
        if not isinstance(table, list):
            raise InputError(f'{part.where} lacks the list {section!r} of COCO format')
        for i, entry in enumerate(table):
            for key in keys:
                if not isinstance(entry, dict) or not isinstance(entry.get(key), (int, str)):
                    raise InputError(
                        f'{part.where}: {section}[{i}] has no valid {key!r}, and the data cannot '
                        'be put together without it. Correct the entry.'
                    )


def _keep_images(part: LoadedSplit, kept: set[Any]) -> None:
    """Keep the images whose ids are in ``kept``, with their annotations."""
    gone = {image['id'] for image in part.content['images']} - kept
    part.content = {
        **part.content,
        'images': [image for image in part.content['images'] if image['id'] in kept],
        # An annotation of an unknown image stays, for the checks to find.
        'annotations': [a for a in part.content['annotations'] if a['image_id'] not in gone],
    }


def _keep_listed(part: LoadedSplit, names: list[str], source: Source) -> None:
    """Keep the images of a COCO file that its list names, by file name or its stem."""
    _require_tables(part)
    by_name: dict[str, list] = {}
    for image in part.content['images']:
        file_name = str(image['file_name'])
        for key in {file_name, stem(file_name), Path(file_name).name, stem(Path(file_name).name)}:
            by_name.setdefault(key, []).append(image['id'])
    kept = set()
    for name in names:
        ids = by_name.get(name, [])
        if len(ids) == 1:
            kept.add(ids[0])
        else:
            relation = 'is not in' if not ids else f'fits {len(ids)} images of'
            message = f'list {source.image_list}: {name!r} {relation} {source.annotations}'
            part.unreadable.append((name, message))
    _keep_images(part, kept)


def _keep_split(
    parts: list[LoadedSplit], name: str, data: ObjectDescription, split: RandomSplit | FoldSplit
) -> tuple[str, ...]:
    """Keep what belongs to split ``name`` of a set that is taken apart, and say how it was."""
    by_name: dict[str, tuple[LoadedSplit, Any]] = {}
    for part in parts:
        _require_tables(part)
        for image in part.content['images']:
            key = _relative(part, image, data.root)
            if key in by_name:
                raise InputError(f'{part.where}: image {key} is listed twice; remove one entry')
            by_name[key] = (part, image['id'])
    files = {key: data.root / key for key in by_name}
    taken = take_apart(data.path, split, files, lambda: _classes_in(by_name, data))
    chosen = taken.parts[name]
    for part in parts:
        _keep_images(part, {i for key, (p, i) in by_name.items() if p is part and key in chosen})
    return taken.notes


def _classes_in(
    by_name: dict[str, tuple[LoadedSplit, Any]], data: ObjectDescription
) -> dict[str, set[str]]:
    """Return the classes to learn that each image has."""
    renamed = {old: new for new, olds in (data.classes or {}).items() for old in olds}
    found: dict[str, set[str]] = {key: set() for key in by_name}
    key_of = {(id(part), image_id): key for key, (part, image_id) in by_name.items()}
    for part in {id(part): part for part, _ in by_name.values()}.values():
        old_names = {c['id']: str(c['name']) for c in part.content['categories']}
        for annotation in part.content['annotations']:
            key = key_of.get((id(part), annotation['image_id']))
            name = old_names.get(annotation['category_id'])
            if data.classes is not None:
                name = renamed.get(str(name))
            if key is not None and name is not None:
                found[key].add(name)
    return found


def _relative(part: LoadedSplit, image: dict, root: Path) -> str:
    return Path(os.path.relpath(part.images / str(image['file_name']), root)).as_posix()


def join_splits(parts: list[LoadedSplit], name: str, data: ObjectDescription) -> LoadedSplit:
    """Join sources, or splits: ids are numbered anew, categories are one if their names are.

    Args:
        parts: What to join.
        name: What it becomes.
        data: The description.

    Raises:
        InputError: If they list different categories, or lack what joining needs.
    """
    where = f'{len(parts)} sources ({name} of {data.path})'
    declared = []
    for part in parts:
        _require_tables(part)
        if not part.open_classes:
            declared.append({category['name'] for category in part.content['categories']})
    differing = set.union(*declared) - set.intersection(*declared) if declared else set()
    if differing and data.classes is None:
        raise InputError(
            f'{where} list different categories: {sorted(differing)} are not in all of them. In a '
            'source without them such objects would be learnt as background; annotate them, or '
            'name those to learn under classes:'
        )
    joined: dict[str, list] = dict(images=[], annotations=[], categories=[])
    names: dict[str, int] = {}
    for part in parts:
        for category in part.content['categories']:
            if category['name'] not in names:
                names[category['name']] = len(names) + 1
                joined['categories'].append(dict(category, id=names[category['name']]))
        categories = {c['id']: names[c['name']] for c in part.content['categories']}
        images = {}
        for image in part.content['images']:
            images[image['id']] = len(joined['images']) + 1
            joined['images'].append(
                dict(image, id=images[image['id']], file_name=_relative(part, image, data.root))
            )
        for annotation in part.content['annotations']:
            image_id, category_id = annotation['image_id'], annotation['category_id']
            joined['annotations'].append(
                dict(
                    annotation,
                    id=len(joined['annotations']) + 1,
                    # An unknown id stays unknown, and says whose it was.
                    image_id=images.get(image_id, f'{image_id} of {part.where}'),
                    category_id=categories.get(category_id, f'{category_id} of {part.where}'),
                    source=annotation.get('source', f'{annotation.get("id")} of {part.where}'),
                )
            )
    unreadable = [entry for part in parts for entry in part.unreadable]
    open_classes = all(part.open_classes for part in parts)
    unused = [entry for part in parts for entry in part.unused]
    skipped = [entry for part in parts for entry in part.skipped]
    return LoadedSplit(joined, data.root, where, open_classes, unreadable, unused, skipped)


def _apply_classes(
    split: LoadedSplit, classes: dict[str, tuple[str, ...]], data: ObjectDescription
) -> None:
    """Rename, join and drop categories as the description says."""
    _require_tables(split)
    old_names = {c['id']: c['name'] for c in split.content['categories']}
    if not split.open_classes:
        wanted = {old for olds in classes.values() for old in olds}
        unknown = sorted(wanted - {*old_names.values()})
        if unknown:
            raise InputError(
                f'{data.path}: classes names {unknown[0]!r}, which is no category of '
                f'{split.where}; its categories are {sorted(old_names.values())}'
            )
    new_ids = {old: i for i, olds in enumerate(classes.values(), 1) for old in olds}
    annotations = []
    dropped: Counter[str] = Counter()
    for annotation in split.content['annotations']:
        old = old_names.get(annotation['category_id'])
        if old is None:
            annotations.append(
                dict(annotation, category_id=f'{annotation["category_id"]} of {split.where}')
            )
        elif old in new_ids:
            annotations.append(dict(annotation, category_id=new_ids[old]))
        else:
            dropped[old] += 1
    split.content = {
        **split.content,
        'annotations': annotations,
        'categories': [dict(id=i, name=name) for i, name in enumerate(classes, 1)],
    }
    split.dropped = dict(dropped)
    split.open_classes = False
