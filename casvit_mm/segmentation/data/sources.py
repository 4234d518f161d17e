"""From the sources that a description names to the pairs of image and mask of a split."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from casvit_mm.cli import job_command
from casvit_mm.datasets.description import FoldSplit, RandomSplit
from casvit_mm.datasets.files import (
    IMAGE_SUFFIXES,
    describe_unused,
    find_files,
    find_images,
    read_list,
    stem,
)
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.near_names import near_names
from casvit_mm.datasets.splitting import take_apart
from casvit_mm.errors import InputError, first_names
from casvit_mm.segmentation.data.description import (
    JPEG_SUFFIXES,
    LABEL_SUFFIXES,
    SegmentationDescription,
    Source,
)
from casvit_mm.segmentation.data.naming import match_names
from casvit_mm.segmentation.data.rasters import rasterise_split

__all__ = ['ImagePair', 'find_pairs']

_NAMED = 3  # files that a message names


class ImagePair(NamedTuple):
    """An image and its segmentation mask, as absolute paths."""

    image: str
    label: str


ReadClasses = Callable[[list[ImagePair]], Sequence[Collection[str]]]


@dataclass(frozen=True)
class _Files:
    """What lies in the two folders of a source: paths by name, which is the path without suffix."""

    images: dict[str, list[Path]]
    labels: dict[str, list[Path]]
    jpeg_labels: dict[str, list[Path]]


def find_pairs(
    data: SegmentationDescription, splits: tuple[str, ...], read_classes: ReadClasses
) -> tuple[dict[str, list[ImagePair]], dict[str, list[Issue]], tuple[str, ...]]:
    """Pair the images and masks of some splits; files are read to draw a split only.

    Args:
        data: The description.
        splits: Splits that it has.
        read_classes: Finds the classes that each mask shows.

    Returns:
        The pairs by split, sorted within each source; what has no partner or cannot be told
        apart; and how a set was taken apart. Of such a set the issues stand under the first split,
        and so do all pairs where an issue keeps it whole.

    Raises:
        InputError: If a set is to be taken apart and cannot be; see
            :func:`casvit_mm.datasets.splitting.take_apart`.
    """
    if data.split is None:
        found = {name: _pair_sources(data, name) for name in splits}
        found_pairs = {name: pairs for name, (pairs, _) in found.items()}
        return found_pairs, {name: issues for name, (_, issues) in found.items()}, ()
    whole, wrong = _pair_sources(data, 'train')
    parts: dict[str, list[ImagePair]] = {splits[0]: whole}
    notes: tuple[str, ...] = ()
    if not any(issue.fatal for issue in wrong):
        parts, notes = _take_apart(data, data.split, whole, read_classes)
    issues: dict[str, list[Issue]] = {name: [] for name in splits}
    issues[splits[0]] = wrong
    return {name: parts.get(name, []) for name in splits}, issues, notes


def _take_apart(
    data: SegmentationDescription,
    split: RandomSplit | FoldSplit,
    pairs: list[ImagePair],
    read_classes: ReadClasses,
) -> tuple[dict[str, list[ImagePair]], tuple[str, ...]]:
    """Return the pairs of each split of a set that is taken apart, and how it was."""
    names = [Path(os.path.relpath(pair.image, data.root)).as_posix() for pair in pairs]
    files = {name: Path(pair.image) for name, pair in zip(names, pairs, strict=True)}
    taken = take_apart(
        data.path, split, files, lambda: dict(zip(names, read_classes(pairs), strict=True))
    )
    parts = {
        name: [pair for pair, own in zip(pairs, names, strict=True) if own in part]
        for name, part in taken.parts.items()
    }
    return parts, taken.notes


def _pair_sources(data: SegmentationDescription, split: str) -> tuple[list[ImagePair], list[Issue]]:
    pairs: list[ImagePair] = []
    issues: list[Issue] = []
    if data.objects is not None:
        drawn, issues = rasterise_split(data.objects, split, data.drawn, data.background, data.read)
        return [ImagePair(*pair) for pair in drawn], issues
    where = f'{split if data.split is None else "data"} of {data.path}'
    for source in data.splits[split]:
        found, wrong = _pair(source, where)
        pairs += found
        issues += wrong
    return pairs, issues


def _pair(source: Source, where: str) -> tuple[list[ImagePair], list[Issue]]:
    for folder in (source.images, source.labels):
        if not folder.is_dir():
            message = f'folder {folder} ({where}) does not exist'
            return [], [Issue('missing folder', str(folder), message, True)]
    files = _list_files(source)
    if missing := _nothing_to_pair(source, files, where):
        return [], [Issue('empty split', where, missing, True)]
    issues = list(_unused(source, files))
    files, renamed = _match(files)
    issues += renamed
    if source.image_list is not None:
        try:
            lines = read_list(source.image_list, where)
        except InputError as error:
            return [], [Issue('unusable list', str(source.image_list), str(error), True)]
        files, wrong = _keep_listed(files, source, lines)
        issues += wrong
    common = sorted(files.images.keys() & files.labels.keys())
    if not common and files.images and not files.jpeg_labels.keys() & files.images.keys():
        return [], [*issues, _no_common_name(source, files, where)]
    issues += _ambiguous(files)
    issues += _jpeg_labels(files, where)
    issues += _without_partner(source, files, where)
    pairs = [ImagePair(str(files.images[name][0]), str(files.labels[name][0])) for name in common]
    return pairs, issues


def _list_files(source: Source) -> _Files:
    images = find_images(source.images, source.image_suffix)
    labels = find_files(source.labels, LABEL_SUFFIXES, source.label_suffix)
    jpeg = {} if source.label_suffix else find_files(source.labels, JPEG_SUFFIXES)
    # In one folder for both, the longer suffix tells which a file is.
    if len(source.label_suffix or '') > len(source.image_suffix or ''):
        images = _leave_out(images, labels)
    elif source.image_suffix:
        labels, jpeg = _leave_out(labels, images), _leave_out(jpeg, images)
    return _Files(images, labels, jpeg)


def _leave_out(
    files: dict[str, list[Path]], others: dict[str, list[Path]]
) -> dict[str, list[Path]]:
    taken = {path for paths in others.values() for path in paths}
    kept = {name: [path for path in paths if path not in taken] for name, paths in files.items()}
    return {name: paths for name, paths in kept.items() if paths}


def _unused(source: Source, files: _Files) -> Iterator[Issue]:
    """Count the files in both folders that are neither image nor mask."""
    used = {path for part in vars(files).values() for paths in part.values() for path in paths}
    for place, message in describe_unused([source.images, source.labels], used.__contains__):
        yield Issue('files not used', place, message, False)


def _match(files: _Files) -> tuple[_Files, list[Issue]]:
    """Give masks the names of their images, by one rule for all, and say so for each."""
    images, labels = files.images, files.labels
    if images.keys() == labels.keys() or files.jpeg_labels:
        return files, []
    if any(len(paths) > 1 for part in (images, labels) for paths in part.values()):
        return files, []
    what, pairs = match_names(images, labels)
    alone = {label: labels[label] for label in labels.keys() - set(pairs.values())}
    if alone.keys() & pairs.keys():  # a mask of an image's name would be passed over
        return files, []
    issues = []
    for image, label in pairs.items():
        if image == label:
            continue
        path, mask = images[image][0], labels[label][0]
        message = (
            f'image {path} has no label of its name, and label {mask} no image. They seem to be a '
            f'pair: the names of {len(pairs)} images and labels here agree but for {what}. '
            f'{job_command("check_data")} --fix gives the masks the names of the images; or rename '
            'them, or give image_suffix: and label_suffix: beside the folders.'
        )
        place = f'{path.name} ~ {mask.name}'
        issues.append(Issue('names that differ', place, message, True))
    paired = {image: labels[label] for image, label in pairs.items()}
    return _Files(images, {**alone, **paired}, {}), issues


def _nothing_to_pair(source: Source, files: _Files, where: str) -> str | None:
    """Return what is wrong if there is no image or no mask at all."""
    if not files.images:
        ending = source.image_suffix or 'one of ' + ' '.join(sorted(IMAGE_SUFFIXES))
        return f'image folder {source.images} ({where}) holds no image; names must end in {ending}'
    if not files.labels and not files.jpeg_labels:
        ending = source.label_suffix or 'one of ' + ' '.join(sorted(LABEL_SUFFIXES))
        return f'label folder {source.labels} ({where}) holds no mask; names must end in {ending}'
    return None


def _keep_listed(
    files: _Files, source: Source, lines: dict[str, int]
) -> tuple[_Files, list[Issue]]:
    """Keep what the list names, and find names that stand for nothing or for one image twice."""
    issues = []
    first: dict[str, int] = {}
    for written, line in lines.items():
        place = f'list {source.image_list}, line {line}: {written!r}'
        name = written
        for suffix in filter(None, (source.image_suffix, source.label_suffix)):
            name = name.removesuffix(suffix)
        if name == written:
            name = stem(written)
        if name not in files.images:
            near = near_names([name], files.images)
            message = (
                f'{place} is no image of {source.images}; every line holds one name, counted from '
                f'there, with or without suffix{_hint(near, name)}'
            )
            issues.append(Issue('listed image missing', written, message, True))
        elif name in first:
            message = f'{place} is the image of line {first[name]}; take one of the two away'
            issues.append(Issue('listed twice', written, message, True))
        else:
            first[name] = line
    return _Files(*(_only(part, first) for part in vars(files).values())), issues


def _only(files: dict[str, list[Path]], names: Iterable[str]) -> dict[str, list[Path]]:
    return {name: files[name] for name in names if name in files}


def _no_common_name(source: Source, files: _Files, where: str) -> Issue:
    image = next(iter(files.images.values()))[0].name
    label = next(iter((files.labels or _list_files(source).labels).values()))[0].name
    message = (
        f'no image of {where} has a label of the same name: images are named like {image}, labels '
        f'like {label}. If the names differ in their ends only, give image_suffix: and '
        'label_suffix: beside the folders.'
    )
    return Issue('image without label', where, message, True)


def _ambiguous(files: _Files) -> Iterator[Issue]:
    for kind, found in (('image', files.images), ('label', files.labels)):
        for name, paths in found.items():
            if len(paths) > 1:
                message = (
                    f'{paths[0]} and {paths[1].name} could both be the {kind} {name!r}; say '
                    f'which by {kind}_suffix: in the description, like {paths[0].suffix} or '
                    f'{paths[1].suffix}'
                )
                yield Issue('ambiguous name', name, message, True)


def _jpeg_labels(files: _Files, where: str) -> Iterator[Issue]:
    lossy = [name for name in files.images if name in files.jpeg_labels.keys() - files.labels]
    for name in lossy:
        message = (
            f'label {files.jpeg_labels[name][0]} is a JPEG file, whose compression changes label '
            f'values ({len(lossy)} of {len(files.images)} labels of {where}). Export the masks '
            'as PNG; saving these as PNG does not bring the values back.'
        )
        yield Issue('JPEG label', name, message, True)


def _without_partner(source: Source, files: _Files, where: str) -> Iterator[Issue]:
    known = files.labels.keys() | files.jpeg_labels.keys()
    alone = {name: path[0] for name, path in sorted(files.images.items()) if name not in known}
    near = near_names(alone, known)
    lonely = list(alone.values())
    for name, path in alone.items():
        message = (
            f'{path} has no label in {source.labels}{_hint(near, name)}. {len(lonely)} of '
            f'{len(files.images)} images of {where} lack one: {_names(lonely)}. Add the masks, or '
            'name the images to take in a text file that list: names.'
        )
        yield Issue('image without label', path.name, message, True)
    lonely = [path[0] for name, path in sorted(files.labels.items()) if name not in files.images]
    for path in lonely:
        message = (
            f'label {path} has no image in {source.images}. {len(lonely)} of {len(files.labels)} '
            f'labels of {where} lack one: {_names(lonely)}. Add the images, or name those to take '
            'in a text file that list: names.'
        )
        yield Issue('label without image', path.name, message, True)


def _hint(near: dict[str, str], name: str) -> str:
    return f'; {near[name]}' if name in near else ''


def _names(paths: list[Path]) -> str:
    return first_names([path.name for path in paths], _NAMED)
