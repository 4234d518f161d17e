"""A detection dataset as labelled images, to be written in another format."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from casvit_mm.datasets.formats.coco import check_content
from casvit_mm.datasets.formats.coco_file import SECTIONS
from casvit_mm.datasets.formats.packed import plain_object
from casvit_mm.datasets.issues import first_of
from casvit_mm.datasets.object_sources import LoadedSplit, load_split
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.split_checks import list_open_classes, open_names
from casvit_mm.errors import InputError

__all__ = ['labelled_set']


def labelled_set(path: str | Path) -> tuple[LabelledSet, list[str]]:
    """Return the images of all splits with their objects, and what the user should know.

    Args:
        path: What ``--data`` takes.

    Raises:
        InputError: If training would refuse annotations, or splits disagree on the categories.
    """
    data = read_dataset(path)
    loaded = {name: load_split(data, name) for name in data.splits}
    for name, split in loaded.items():
        if split.unreadable:
            raise InputError(first_of([message for _, message in split.unreadable]))
        check_content(split.content, split.images, split.where, without_labels=name == 'test')
    list_open_classes(loaded, open_names(loaded))
    categories = _one_list_of_categories(loaded)
    labelled = LabelledSet(
        'detection',
        categories,
        {name: _images(split) for name, split in loaded.items()},
        fields={} if data.max_dets == 100 else dict(max_dets=data.max_dets),
        more={
            name: {key: value for key, value in split.content.items() if key not in SECTIONS}
            for name, split in loaded.items()
        },
    )
    for split in loaded.values():
        labelled.lost.update(
            {
                f'objects of {name}, left out by classes': number
                for name, number in split.dropped.items()
            }
        )
    notes = [message for s in loaded.values() for _, message in (*s.skipped, *s.unused)]
    return labelled, [*data.notes, *loaded['train'].notes, *dict.fromkeys(notes)]


def _one_list_of_categories(loaded: dict[str, LoadedSplit]) -> list[dict[str, Any]]:
    """Return the categories; where the splits number them differently, those of train, for all.

    Raises:
        InputError: If a split has others.
    """
    first = loaded['train'].content['categories']
    ids = {category['name']: category['id'] for category in first}
    for name, split in loaded.items():
        theirs = split.content['categories']
        differing = sorted({category['name'] for category in theirs} ^ set(ids))
        if differing:
            raise InputError(
                f'train and {name} disagree on the categories {differing}; name those to write '
                'under classes: in the description'
            )
        new = {category['id']: ids[category['name']] for category in theirs}
        for annotation in split.content.get('annotations', ()):
            annotation['category_id'] = new[annotation['category_id']]
    return first


def _images(split: LoadedSplit) -> list[ImageLabels]:
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in split.content.get('annotations', ()):
        objects[annotation['image_id']].append(plain_object(annotation))
    return [
        ImageLabels(
            split.images / entry['file_name'],
            entry['file_name'],
            entry['width'],
            entry['height'],
            objects[entry['id']],
            entry=entry,
        )
        for entry in split.content['images']
    ]
