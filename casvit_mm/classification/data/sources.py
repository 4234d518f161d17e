"""From the sources that a description names to the images of a split and their classes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from casvit_mm.classification.data.description import ClassificationDescription, Source
from casvit_mm.datasets.description import FoldSplit, RandomSplit
from casvit_mm.datasets.files import IMAGE_SUFFIXES, describe_unused, list_images, read_list
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.registry import read_source
from casvit_mm.datasets.issues import Issue
from casvit_mm.datasets.near_names import near_names
from casvit_mm.datasets.splitting import take_apart
from casvit_mm.errors import InputError, first_names

__all__ = ['LabelledImage', 'Listing', 'list_splits', 'quote_some']

_NAMED = 3  # things that a message names


class LabelledImage(NamedTuple):
    """An image as absolute path, and the name of its class."""

    path: str
    class_name: str


@dataclass
class Listing:
    """What a split consists of.

    Attributes:
        images: Its images, in the order of the sources, sorted within each.
        empty: Folders of classes without an image.
        issues: What cannot be used.
        notes: How the set was taken apart; of train alone.
        complete: Whether none of it stops training, so that the images are all there are.
    """

    images: list[LabelledImage] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    complete: bool = True


class _Line(NamedTuple):
    """A line of a list, understood: the image, its label if any, and the place for messages."""

    path: Path
    label: str | None
    folder: str | None
    place: str


def quote_some(names: list[str]) -> str:
    """Return the first names in quotation marks, and dots for the others."""
    return first_names([repr(name) for name in names], _NAMED)


def list_splits(data: ClassificationDescription, splits: tuple[str, ...]) -> dict[str, Listing]:
    """Find the images of some splits and their classes; images are read to draw a split only.

    Args:
        data: The dataset.
        splits: Splits that it has. Of a set that is taken apart, issues and empty folders stand
            under the first, and so do all images where an issue keeps it whole.

    Raises:
        InputError: If a set is to be taken apart and cannot be; see
            :func:`casvit_mm.datasets.splitting.take_apart`.
    """
    if data.split is None:
        return {name: _list_sources(data, name) for name in splits}
    whole = _list_sources(data, 'train')
    listings = {name: Listing(complete=whole.complete) for name in splits}
    listings[splits[0]].images = whole.images
    if whole.complete:
        _take_apart(data, data.split, whole.images, listings)
    listings[splits[0]].issues = whole.issues
    listings[splits[0]].empty = whole.empty
    return listings


def _take_apart(
    data: ClassificationDescription,
    split: RandomSplit | FoldSplit,
    images: list[LabelledImage],
    listings: dict[str, Listing],
) -> None:
    """Put the images of a set that is taken apart into the listings of its splits."""
    by_name = {Path(os.path.relpath(i.path, data.root)).as_posix(): i for i in images}
    files = {name: Path(image.path) for name, image in by_name.items()}
    classes = {name: (image.class_name,) for name, image in by_name.items()}
    taken = take_apart(data.path, split, files, lambda: classes, every_class=True)
    for name, listing in listings.items():
        listing.images = [by_name[image] for image in sorted(taken.parts[name])]
    if 'train' in listings:
        listings['train'].notes = taken.notes


def _list_sources(data: ClassificationDescription, split: str) -> Listing:
    name = split if data.split is None else 'data'
    where = f'{name} of {data.path}'
    joined = Listing()
    for source in data.splits[split]:
        found = _list_source(data, source, where)
        joined.images += [LabelledImage(path, data.class_of(name)) for path, name in found.images]
        joined.empty += found.empty
        joined.issues += found.issues
    used = {image.class_name for image in joined.images}
    joined.empty = [folder for folder in joined.empty if data.class_of(folder.name) not in used]
    joined.complete = not any(issue.fatal for issue in joined.issues)
    return joined


def _list_source(data: ClassificationDescription, source: Source, where: str) -> Listing:
    if not source.images.is_dir():
        message = f'folder {source.images} ({where}) does not exist'
        return Listing(issues=[Issue('missing folder', str(source.images), message, True)])
    files = list_images(source.images)
    if not files:
        message = (
            f'image folder {source.images} ({where}) holds no image, nor do the folders in it; '
            f'names must end in one of {" ".join(sorted(IMAGE_SUFFIXES))}'
        )
        return Listing(issues=[Issue('empty split', where, message, True)])
    if source.annotations is not None:
        return _from_annotations(source, source.annotations, where)
    if source.image_list is None:
        listing = _from_folders(data, source.images, files, where)
        used = set(files)
        for place, message in describe_unused([source.images], lambda path: str(path) in used):
            listing.issues.append(Issue('files not used', place, message, False))
        return listing
    try:
        written = read_list(source.image_list, where)
    except InputError as error:
        issue = Issue('unusable list', str(source.image_list), str(error), True)
        return Listing(issues=[issue])
    lines, issues = _understand(written, source, files)
    images, wrong = _classify(data, source, lines)
    return Listing(images, issues=[*issues, *wrong])


def _from_folders(
    data: ClassificationDescription, folder: Path, files: list[str], where: str
) -> Listing:
    """Take the name of the first folder below ``folder`` for the class."""
    listing = Listing()
    classes: dict[str, str] = {}  # of the folders that hold images; none beside the classes
    beside = []
    for path in files:
        parent = os.path.dirname(path)
        if parent not in classes:
            classes[parent] = next(iter(Path(parent).relative_to(folder).parts), '')
        if classes[parent]:
            listing.images.append(LabelledImage(path, classes[parent]))
        else:
            beside.append(path)
    if not listing.images:
        message = (
            f'the images of {folder} ({where}) lie in no folders, so nothing tells their class. '
            'Put them into one folder for each class, or name a text file with NAME LABEL in each '
            'line by list:'
        )
        listing.issues.append(Issue('image without class', str(folder), message, True))
        return listing
    for path in beside:
        message = (
            f'{path} lies beside the folders of the classes and is not used ({len(beside)} such '
            f'in {folder}); put it into the folder of its class'
        )
        issue = Issue('image beside the class folders', os.path.basename(path), message, False)
        listing.issues.append(issue)
    listing.empty = [
        below
        for below in sorted(folder.iterdir())
        if below.is_dir()
        and below.name[0] != '.'
        and (data.classes is None or data.class_of(below.name) in data.classes)
    ]
    return listing


def _from_annotations(source: Source, annotations: Path, where: str) -> Listing:
    """Take the tags, flags or choices of a labelling tool for the classes."""
    try:
        _, found = read_source(
            SourceFiles(
                annotations, source.images, f'{annotations} ({where})', subset=source.subset
            )
        )
    except InputError as error:
        issue = Issue('unusable list', str(annotations), str(error), True)
        return Listing(issues=[issue])
    listing = Listing(issues=[Issue('unusable list', p, m, True) for p, m in found.unreadable])
    without = []
    for entry in found.content['images']:
        name = entry['file_name']
        classes = list(dict.fromkeys(found.classes.get(name, ())))
        if len(classes) == 1:
            listing.images.append(LabelledImage(os.path.abspath(source.images / name), classes[0]))
        elif not classes:
            without.append(name)
        else:
            message = (
                f'{annotations} ({where}): {name} has several classes, {quote_some(classes)}, and '
                'one is learnt of an image. Leave one, or take the image out'
            )
            listing.issues.append(Issue('several classes', name, message, True))
    left_out = [m for _, m in found.skipped]
    if without:
        left_out.append(
            f'{len(without)} image(s) have no class and are not used; first {without[0]}'
        )
    if objects := len(found.content['annotations']):
        left_out.append(f'{objects} object(s) are not learnt by a classifier')
    for message in left_out:
        listing.issues.append(Issue('files not used', str(annotations), message, False))
    if not listing.images and not any(issue.fatal for issue in listing.issues):
        message = f'{annotations} ({where}) says no class of any image'
        listing.issues.append(Issue('image without class', str(annotations), message, True))
    return listing


def _understand(
    written: dict[str, int], source: Source, files: list[str]
) -> tuple[list[_Line], list[Issue]]:
    """Find the image that each line of a list names."""
    by_path: dict[str, list[Path]] = {}
    by_name: dict[str, list[Path]] = {}
    for path in map(Path, files):
        by_path[path.relative_to(source.images).as_posix()] = [path]
        by_name.setdefault(path.name, []).append(path)
    lines: list[_Line] = []
    missing: list[tuple[str, str]] = []
    issues = []
    first: dict[Path, str] = {}
    for text, number in written.items():
        place = f'list {source.image_list}, line {number}: {text!r}'
        paths, label = _find(text, source.images, by_path, by_name)
        if not paths:
            missing.append((text, place))
        elif len(paths) > 1:
            message = f'{place} could be {paths[0]} or {paths[1]}; name the folder as well'
            issues.append(Issue('ambiguous name', text, message, True))
        elif paths[0] in first:
            message = f'{place} is the image of {first[paths[0]]}; take one of the two away'
            issues.append(Issue('listed twice', text, message, True))
        else:
            first[paths[0]] = f'line {number}'
            parts = paths[0].relative_to(source.images).parts
            lines.append(_Line(paths[0], label, parts[0] if len(parts) > 1 else None, place))
    return lines, [*_missing(missing, source, len(written), by_path), *issues]


def _missing(
    missing: list[tuple[str, str]], source: Source, total: int, there: Iterable[str]
) -> Iterator[Issue]:
    # A label may stand behind the name.
    names = {text: (text, *text.rsplit(None, 1)[:1]) for text, _ in missing}
    near = near_names({name for written in names.values() for name in written}, there)
    for text, place in missing:
        hint = next((f' {near[name]}.' for name in names[text] if name in near), '')
        message = (
            f'{place} names no image in {source.images} ({len(missing)} of {total} lines do not: '
            f'{quote_some([name for name, _ in missing])}). A line holds NAME or NAME LABEL with a '
            'blank between, and NAME counts from images:, suffix included. Add the images, or take '
            f'the lines away.{hint}'
        )
        yield Issue('listed image missing', text, message, True)


def _find(
    text: str, folder: Path, by_path: dict[str, list[Path]], by_name: dict[str, list[Path]]
) -> tuple[list[Path], str | None]:
    """Return the images that a line may mean, and its label; names may hold blanks."""
    blanks = [match.start() for match in re.finditer(r'\s+', text)]
    for end in (len(text), *reversed(blanks)):
        name, label = text[:end], text[end:].strip() or None
        relative = Path(os.path.relpath(folder / name, folder)).as_posix()
        # A name without folder may lie in any; one with a wrong folder would get a wrong class.
        found = by_path.get(relative) or ([] if '/' in name else by_name.get(name))
        if found:
            return found, label
    return [], None


def _classify(
    data: ClassificationDescription, source: Source, lines: list[_Line]
) -> tuple[list[LabelledImage], list[Issue]]:
    """Return the images of a list with their classes, sorted."""
    by_label = [line for line in lines if source.class_from_list or line.folder is None]
    in_folders = [line for line in lines if not (source.class_from_list or line.folder is None)]
    images = [LabelledImage(str(line.path), str(line.folder)) for line in in_folders]
    issues = list(_disagreements(in_folders))
    labelled = []
    for line in by_label:
        if line.label is None:
            message = (
                f'{line.place} tells no class: the image lies in no folder below {source.images}, '
                'so a label must follow its name'
            )
            issues.append(Issue('image without class', line.path.name, message, True))
        else:
            labelled.append((line, line.label))
    named, wrong = _by_label(data, source, labelled)
    return sorted(images + named), issues + wrong


def _disagreements(lines: list[_Line]) -> Iterator[Issue]:
    """Find labels that do not stand for folders one to one."""
    counts: dict[str, Counter[str]] = {}
    for line in lines:
        if line.folder is not None and line.label is not None:
            counts.setdefault(line.folder, Counter())[line.label] += 1
    usual = {folder: found.most_common(1)[0][0] for folder, found in counts.items()}
    owner: dict[str, str] = {}
    for folder, label in usual.items():
        owner.setdefault(label, folder)
    advice = 'Correct the list; where folders are no classes, write class_from: list beside it.'
    for line in lines:
        if line.folder is None or line.label is None:
            continue
        label, folder = line.label, line.folder
        if label != usual[folder]:
            other = f'the other images of {folder!r} have {usual[folder]!r}'
        elif owner[label] != folder:
            other = f'{label!r} is the label of folder {owner[label]!r} already'
        elif label != folder and label in usual and not _is_number(label):
            other = f'{label!r} is another folder'
        else:
            continue
        message = (
            f'{line.place} gives label {label!r} to an image in folder {folder!r}, but {other}. '
            f'{advice}'
        )
        yield Issue('label disagrees with folder', line.path.name, message, True)


def _is_number(label: str) -> bool:
    return re.fullmatch(r'[+-]?\d+', label) is not None


def _by_label(
    data: ClassificationDescription, source: Source, lines: list[tuple[_Line, str]]
) -> tuple[list[LabelledImage], list[Issue]]:
    """Return images whose labels are names of classes, or positions among them."""
    labels = {label for _, label in lines}
    if labels <= {*(data.classes or ()), *data.joined} or not all(map(_is_number, labels)):
        return [LabelledImage(str(line.path), label) for line, label in lines], []
    numbers = sorted(map(int, labels))
    where = str(source.image_list)
    if data.classes is None:
        message = (
            f'list {where} has numbers for labels ({numbers[0]} to {numbers[-1]}), and {data.path} '
            'does not say what they stand for. Name the classes in the order of the numbers, like '
            'classes: [cat, dog]'
        )
        return [], [Issue('unknown label', where, message, True)]
    first, names = data.first_label, data.classes
    if first == 0 and numbers[0] == 1 and numbers[-1] == len(names):
        message = (
            f'list {where} has labels from 1 to {len(names)}, but without first_label the '
            f'{len(names)} names under classes: of {data.path} have the numbers 0 to '
            f'{len(names) - 1}. Add first_label: 1 there.'
        )
        return [], [Issue('unknown label', where, message, True)]
    images, issues = [], []
    for line, label in lines:
        position = int(label) - first
        if 0 <= position < len(names):
            images.append(LabelledImage(str(line.path), names[position]))
            continue
        message = (
            f'{line.place} has label {label}, but the {len(names)} names under classes: of '
            f'{data.path} have the numbers {first} to {first + len(names) - 1}. Correct the list, '
            'classes: or first_label:'
        )
        issues.append(Issue('unknown label', line.path.name, message, True))
    return images, issues
