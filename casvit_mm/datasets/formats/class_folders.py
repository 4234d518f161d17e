"""One folder of images per class, for classification, as YOLO classify and Roboflow write it.

``train/cat/1.jpg``, with ``val`` (or ``valid``) and ``test`` beside ``train``
(https://docs.ultralytics.com/datasets/classify/); or the folders of the classes alone, which are
split. Not taken for classes: folders named like parts of a dataset of another task, such as
``images``, ``masks`` or ``train2017``, and folders beside annotations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import IMAGE_SUFFIXES, SPLIT_SUFFIX
from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.folders import has_texts, split_folders, split_in

__all__ = ['FORMAT']

_ANNOTATIONS = {'.json', '.xml', '.csv', '.yaml', '.yml'}
_PARTS = {
    *('images', 'image', 'img', 'imgs', 'data', 'jpegimages', 'labels', 'label', 'annotations'),
    *('masks', 'mask', 'gt', 'ann', 'segmentationclass'),
}


def _describe(path: Path) -> dict[str, Any] | None:
    if not path.is_dir():
        return None
    splits = split_folders(path)
    if not splits:
        return dict(root=str(path), data=[dict(images=str(path))]) if _has_classes(path) else None
    if 'train' not in splits or not _has_classes(splits['train']):
        return None
    # A small test set may have images of one class.
    if not all(_has_classes(folder, number=1) for folder in splits.values()):
        return None
    sources = {split: [dict(images=str(folder))] for split, folder in splits.items()}
    return dict(root=str(path), **sources)


def _has_classes(folder: Path, number: int = 2) -> bool:
    """Return whether a folder holds some folders or more, with images in each of them."""
    below = [child for child in folder.iterdir() if child.name[0] != '.']
    folders = [child for child in below if child.is_dir()]
    if any(child.name.lower() in _PARTS or split_in(child.name) for child in folders):
        return False
    annotated = any(
        child.suffix.lower() in _ANNOTATIONS and not child.name.endswith(SPLIT_SUFFIX)
        for child in below
    )
    if annotated or any(map(_holds_labelme, folders)):
        return False
    return len(folders) >= number and all(map(_holds_images, folders))


def _holds_labelme(folder: Path) -> bool:
    first = next(folder.glob('*.json'), None)
    return first is not None and has_texts(first, [b'"shapes"'])


def _holds_images(folder: Path) -> bool:
    return any(child.suffix.lower() in IMAGE_SUFFIXES for child in folder.iterdir())


def _read(files: SourceFiles) -> Annotations:
    raise NotImplementedError('classification reads folders itself')


FORMAT = Format(
    name='image folders',
    reads='train/CLASS/*.jpg and val/CLASS/*.jpg, or CLASS/*.jpg, for classification',
    holds=lambda path: False,  # no annotations
    describe=_describe,
    read=_read,
)
