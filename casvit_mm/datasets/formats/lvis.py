"""LVIS: JSON like COCO's with 1,203 categories (https://www.lvisdataset.org/dataset).

Read are the polygons of v1 and v0.5. v1 has no ``file_name``: it is the end of ``coco_url``, like
``train2017/000000391895.jpg``, below the folder of images, or its last part in it. LVIS is labelled
federatedly: in an image, objects of a category are all labelled, or verified to be absent
(``neg_category_ids``), or neither. Training and COCO's metrics take the last for absent, and the
note says so; LVIS's own AP leaves them out. ``not_exhaustive_category_ids`` are counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from casvit_mm.datasets.formats.base import Annotations, Format, SourceFiles
from casvit_mm.datasets.formats.coco_file import read_annotations
from casvit_mm.datasets.formats.folders import by_split, first_text, has_texts
from casvit_mm.errors import InputError

__all__ = ['FORMAT']

_LISTS = (b'"images"', b'"annotations"', b'"categories"', b'"synset"', b'"neg_category_ids"')


def _holds(path: Path) -> bool:
    return path.suffix.lower() == '.json' and path.is_file() and has_texts(path, _LISTS)


def _describe(path: Path) -> dict[str, Any] | None:
    if path.is_file():
        return by_split(path.parent, [_source(path, path.parent)], '') if _holds(path) else None
    files = [*path.glob('*.json'), *path.glob('annotations/*.json')]
    sources = [_source(file, path) for file in sorted(files) if _holds(file)]
    return by_split(path, sources, 'files of LVIS')


def _source(path: Path, root: Path) -> tuple[Path, dict[str, str]]:
    url = first_text(path, 'coco_url') or first_text(path, 'file_name') or ''
    places = [place for top in (root, root.parent) for place in (top / 'images', top)]
    images = next((place for place in places if (place / _below(url)).is_file()), None)
    if images is None:
        raise InputError(
            f'{path} (--data) is LVIS, and its first image {_below(url)} is neither in {root} nor '
            'in images/ there. Put the folders of COCO 2017 there, or name the folder that holds '
            'them as images: in a dataset.yaml (docs/reference/data_formats.md).'
        )
    return path, dict(annotations=str(path), images=str(images))


def _below(url: str) -> str:
    """Return the folder and the name at the end of an address."""
    return '/'.join(url.split('/')[-2:])


def _read(files: SourceFiles) -> Annotations:
    content = read_annotations(files.annotations, files.where)
    open_images = 0
    for image in content['images'] if isinstance(content.get('images'), list) else []:
        if not isinstance(image, dict):
            continue
        open_images += bool(image.get('not_exhaustive_category_ids'))
        url = image.get('coco_url')
        if 'file_name' not in image and isinstance(url, str):
            name = _below(url)
            found = (files.images / name).is_file()
            image['file_name'] = name if found else url.rpartition('/')[2]
    note = (
        'LVIS labels each category in a part of the images alone; elsewhere its objects are taken '
        "for background, in training and in AP, which is COCO's and not LVIS's own. "
        f'{open_images} image(s) have categories of which not all objects are labelled'
    )
    return Annotations(content, skipped=[(files.annotations.name, note)])


FORMAT = Format(
    name='LVIS',
    reads='lvis_v1_train.json and its like, with the folders of COCO 2017 beside it',
    holds=_holds,
    describe=_describe,
    read=_read,
)
