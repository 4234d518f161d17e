"""COCO: a JSON file with ``images``, ``annotations`` and ``categories`` (https://cocodataset.org).

Read are boxes, polygons and RLE of instances, as any exporter spells them
(:mod:`casvit_mm.datasets.formats.coco_file`). A folder is read as COCO itself lies
(``annotations/instances_train2017.json`` beside ``train2017/``), as Roboflow writes it
(``train/_annotations.coco.json``) and as CVAT and Datumaro do (``annotations/instances_train.json``
beside ``images/train/``): the images are where the first ``file_name`` leads. Not read: captions,
keypoints, panoptic segmentation and results, which have files of their own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from casvit_mm.datasets.formats.base import Annotations, Format
from casvit_mm.datasets.formats.coco_file import read_annotations
from casvit_mm.datasets.formats.folders import by_split, first_text, has_texts, split_in
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'image_folder', 'is_coco', 'json_files']

_LISTS = (b'"images"', b'"annotations"', b'"categories"')
_LVIS = (b'"synset"',)
_OTHERS = re.compile('captions|keypoints|panoptic|stuff|image_info', re.IGNORECASE)


def is_coco(path: Path) -> bool:
    """Return whether a file holds the lists of COCO, and is not LVIS."""
    return path.suffix.lower() == '.json' and has_texts(path, _LISTS) and not has_texts(path, _LVIS)


def json_files(folder: Path) -> list[Path]:
    """Return the JSON files of a folder and of those in it, as far as instances may be in them."""
    found = [*folder.glob('*.json'), *folder.glob('*/*.json')]
    return sorted(path for path in found if not _OTHERS.search(path.name))


def image_folder(annotations: Path, root: Path, name: str | None) -> Path | None:
    """Return the folder that the images of a file count from, None if the first is in none.

    Args:
        annotations: The file.
        root: Folder of the dataset.
        name: Path of the first image as the file has it.
    """
    split = split_in(annotations.relative_to(root).as_posix())
    stem = annotations.stem.removeprefix('instances_')
    places = [annotations.parent, root / 'images' / stem, root / stem, root / 'images', root]
    for top in (root / 'images', root):
        below = sorted(top.iterdir()) if top.is_dir() else []
        places += [child for child in below if child.is_dir() and split_in(child.name) == split]
    return next((place for place in places if name and (place / name).is_file()), None)


def _describe(path: Path) -> dict[str, Any] | None:
    if path.is_file():
        return by_split(path.parent, [_source(path, path.parent)], '') if is_coco(path) else None
    files = [file for file in json_files(path) if is_coco(file)]
    return by_split(path, [_source(file, path) for file in files], 'files of COCO')


def _source(path: Path, root: Path) -> tuple[Path, dict[str, str]]:
    name = first_text(path, 'file_name')
    images = image_folder(path, root, name)
    if images is None:
        raise InputError(
            f'{path} (--data) is COCO, and its first image {name!r} is neither beside it nor in '
            f'images/ of {root}. Name its folder as images: in a dataset.yaml '
            '(docs/reference/data_formats.md).'
        )
    return path, dict(annotations=str(path), images=str(images))


FORMAT = Format(
    name='COCO',
    reads='a JSON file with images, annotations and categories, or a folder with such files',
    holds=is_coco,
    describe=_describe,
    read=lambda files: Annotations(read_annotations(files.annotations, files.where)),
)
