"""Checks of a classification dataset: its images, and their classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from casvit_mm.classification.data.description import ClassificationDescription
from casvit_mm.classification.data.sources import LabelledImage, Listing, list_splits, quote_some
from casvit_mm.cli import job_command
from casvit_mm.datasets.classes import alike_classes, how_to_join
from casvit_mm.datasets.duplicates import duplicate_issues
from casvit_mm.datasets.files import plain_name
from casvit_mm.datasets.image_scan import ImageScan, ScanImages, scan_headers
from casvit_mm.datasets.issues import Issue, is_trainable, unreadable_image
from casvit_mm.datasets.splitting import shared_images

__all__ = ['Inspection', 'inspect_dataset']

_OF_SPLITS = {'train', 'training', 'val', 'valid', 'validation', 'test', 'testing'}


@dataclass(frozen=True)
class Inspection:
    """What was found, by split.

    Attributes:
        data: The dataset as described.
        classes: Names, in the order of the labels.
        listings: Images with the names of their classes; of train in any case, if it can be found.
        scans: What the image files hold, one per image.
        issues: All issues; those between splits stand under the first of the two.
    """

    data: ClassificationDescription
    classes: tuple[str, ...]
    listings: dict[str, Listing]
    scans: dict[str, list[ImageScan]]
    issues: dict[str, list[Issue]]

    def trainable(self) -> bool:
        """Return whether training would start."""
        return is_trainable(self.issues)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the set was taken apart."""
        return self.listings['train'].notes

    def usable(self, split: str) -> list[tuple[str, int]]:
        """Return paths and labels of the images that can be read and have a known class."""
        label = {name: i for i, name in enumerate(self.classes)}
        return [
            (image.path, label[image.class_name])
            for image, scan in zip(self.listings[split].images, self.scans[split], strict=True)
            if image.class_name in label and not scan.fault
        ]

    def counts(self, split: str) -> np.ndarray:
        """Return the number of usable images of each class, int64 ``(classes,)``."""
        labels = [label for _, label in self.usable(split)]
        return np.bincount(np.array(labels, dtype=np.int64), minlength=len(self.classes))

    def two_labels(self) -> dict[bytes, dict[str, tuple[str, int]]]:
        """Return what lies in several classes, byte by byte: by class, split and position."""
        found: dict[bytes, dict[str, tuple[str, int]]] = {}
        for split, scans in self.scans.items():
            for i, scan in enumerate(scans):
                if scan.digest:
                    name = self.listings[split].images[i].class_name
                    found.setdefault(scan.digest, {}).setdefault(name, (split, i))
        return {digest: places for digest, places in found.items() if len(places) > 1}

    def short_name(self, path: str | Path) -> str:
        """Return the path of an image from the root of the dataset."""
        return Path(os.path.relpath(path, self.data.root)).as_posix()


def inspect_dataset(
    data: ClassificationDescription,
    splits: tuple[str, ...],
    scan: ScanImages = scan_headers,
) -> Inspection:
    """Find the images of some splits and their classes, and look at every image.

    Args:
        data: The dataset.
        splits: Splits that it has.
        scan: Looks at the images.

    Raises:
        InputError: If a set is to be taken apart and cannot be.
    """
    # Labels follow the classes of train, also where only another split is evaluated.
    listings = list_splits(data, tuple(dict.fromkeys((*splits, 'train'))))
    scans = {}
    for name in splits:
        scans[name] = scan([image.path for image in listings[name].images], name)
    issues = {name: list(listings[name].issues) for name in splits}
    inspection = Inspection(data, _names(data, splits, listings), listings, scans, issues)
    for name in splits:
        issues[name] += _unreadable(inspection, name)
        if listings[name].complete:
            issues[name] += _class_issues(inspection, name)
    images = {name: [image.path for image in listings[name].images] for name in splits}
    for first, second, message in shared_images(images):
        message = f'{data.path}: {message}'
        issues[first].append(Issue('splits share images', f'{first} and {second}', message, True))
    for split, issue in _two_labels(inspection):
        issues[split].append(issue)
    found = {name: dict(enumerate(scans[name])) for name in splits}
    short_name = inspection.short_name
    for name, duplicates in duplicate_issues(found, lambda n, i: short_name(images[n][i])).items():
        issues[name] += duplicates
    return inspection


def _names(
    data: ClassificationDescription, splits: tuple[str, ...], listings: dict[str, Listing]
) -> tuple[str, ...]:
    if data.classes is not None:
        return data.classes
    train = listings['train']
    told = [train] if train.complete and train.images else [listings[name] for name in splits]
    return tuple(sorted({image.class_name for listing in told for image in listing.images}))


def _unreadable(inspection: Inspection, split: str) -> Iterator[Issue]:
    skip = inspection.data.skip_unreadable
    images = inspection.listings[split].images
    unreadable = {i: scan.fault for i, scan in enumerate(inspection.scans[split]) if scan.fault}
    number = f'{len(unreadable)} of {len(images)} images of {split}'
    advice = (
        f'{number} are left out, as skip_unreadable says.'
        if skip
        else f'Replace or remove it ({number} cannot be read), or write skip_unreadable: true in '
        f'{inspection.data.path} to train without such images; '
        f'{job_command("check_data")} --fix leaves them out.'
    )
    for i, fault in unreadable.items():
        path = images[i].path
        name, at = inspection.short_name(path), ('images', i)
        yield unreadable_image(name, path, fault, advice, not skip, at)


def _class_issues(inspection: Inspection, split: str) -> Iterator[Issue]:
    """Find classes that cannot be learnt or measured."""
    images = inspection.listings[split].images
    if not images:
        message = f'{split} of {inspection.data.path} holds no image'
        yield Issue('empty split', split, message, True)
        return
    yield from _unlisted(inspection, split)
    yield from _empty_folders(inspection, split)
    if split == 'train':
        yield from _without_images(inspection)
        yield from _doubtful_names(inspection)
    elif inspection.listings['train'].complete:
        yield from _not_in_train(inspection, split)
        yield from _not_measured(inspection, split)


def _by_class(images: list[LabelledImage]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for image in images:
        found.setdefault(image.class_name, []).append(image.path)
    return found


def _unlisted(inspection: Inspection, split: str) -> Iterator[Issue]:
    data = inspection.data
    if data.classes is None:
        return
    for name, paths in _by_class(inspection.listings[split].images).items():
        if name not in data.classes:
            message = (
                f'class {name!r} of {split} ({len(paths)} image(s), first {paths[0]}) is not under '
                f'classes: of {data.path}, which names {quote_some(list(data.classes))}'
                f'{_written_like(name, data.classes)}. Add it there, or take its images away. '
                'Names like 001, on or no need quotation marks in YAML.'
            )
            yield Issue('class not under classes:', repr(name), message, True)


def _empty_folders(inspection: Inspection, split: str) -> Iterator[Issue]:
    learnt = split == 'train' or inspection.data.split is not None
    for folder in inspection.listings[split].empty:
        message = (
            f'folder {folder} of {split} holds no image, so class {folder.name!r} cannot be '
            f'{"learnt" if learnt else "measured"}. Put images into it, or delete the folder.'
        )
        yield Issue('empty class folder', inspection.short_name(str(folder)), message, learnt)


def _without_images(inspection: Inspection) -> Iterator[Issue]:
    """Find classes of which train has no image that can be read, and a train with one class."""
    data, listing = inspection.data, inspection.listings['train']
    listed = _by_class(listing.images)
    reported = {data.class_of(folder.name) for folder in listing.empty}
    for name, count in zip(inspection.classes, inspection.counts('train'), strict=True):
        if count or name in reported or (name in listed and not data.skip_unreadable):
            continue
        lacking = 'no image that can be read' if name in listed else 'no image'
        message = (
            f'class {name!r} has {lacking} in train of {data.path}, so it cannot be learnt'
            f'{_written_like(name, tuple(listed.keys() - {name}))}. Add images, or take it from '
            f'{"classes:" if data.classes else "the data"}.'
        )
        yield Issue('class without images', repr(name), message, True)
    if len(listed) == 1:
        (name,) = listed
        message = (
            f'train of {data.path} has images of one class only, {name!r}: nothing to tell apart'
        )
        if name.casefold() in _OF_SPLITS:
            message += (
                f'. If the folder {name!r} holds the folders of the classes, name it by images:'
            )
        yield Issue('only one class', repr(name), message, True)


def _doubtful_names(inspection: Inspection) -> Iterator[Issue]:
    classes = inspection.classes
    if len(classes) > 1 and {name.casefold() for name in classes} <= _OF_SPLITS:
        message = (
            f'the classes are called {quote_some(list(classes))}: is images: the folder above '
            'those of the splits? Then write train: {images: .../train}, val: {images: .../val}'
        )
        yield Issue('folders of splits as classes', 'train', message, False)
    yield from alike_classes(classes)


def _written_like(name: str, others: tuple[str, ...]) -> str:
    """Return a hint where a name may be another one, written differently."""
    like = [other for other in others if plain_name(other) == plain_name(name)]
    if not like:
        return ''
    return f' (but {like[0]!r}: a difference in writing? Then {how_to_join(like[0], name)})'


def _not_in_train(inspection: Inspection, split: str) -> Iterator[Issue]:
    known = _by_class(inspection.listings['train'].images)
    for name, paths in _by_class(inspection.listings[split].images).items():
        if name in known or name not in (inspection.data.classes or (name,)):
            continue
        message = (
            f'class {name!r} of {split} ({len(paths)} image(s), first {paths[0]}) has no image in '
            f'train of {inspection.data.path}{_written_like(name, tuple(known))}, so it cannot be '
            f'learnt. Add images of it to train, or take it out of {split}.'
        )
        yield Issue('class that train lacks', repr(name), message, True)


def _not_measured(inspection: Inspection, split: str) -> Iterator[Issue]:
    empty = inspection.listings[split].empty
    reported = {inspection.data.class_of(folder.name) for folder in empty}
    for name, count in zip(inspection.classes, inspection.counts(split), strict=True):
        if not count and name not in reported:
            message = f'class {name!r} has no image in {split}; its accuracy is not measured'
            yield Issue('class not measured', repr(name), message, False)


def _two_labels(inspection: Inspection) -> Iterator[tuple[str, Issue]]:
    """Yield an issue for each image that lies in several classes, and the split of the first."""
    for places in inspection.two_labels().values():
        paths = [
            inspection.short_name(inspection.listings[split].images[i].path)
            for split, i in places.values()
        ]
        texts = [f'{path} is {name!r}' for name, path in zip(places, paths, strict=True)]
        split, first = next(iter(places.values()))
        message = (
            f'the same image has several labels: {", ".join(texts)}. Keep the right one; '
            f'{job_command("check_data")} --fix leaves it out everywhere.'
        )
        at = ('images', first)
        yield split, Issue('image with two labels', ' = '.join(paths), message, False, at)
