"""The ``data.yaml`` of YOLO as a description of ours.

Paths are resolved as Ultralytics does (``ultralytics/data/utils.py``, ``check_det_dataset``): they
count from ``path``, else from the file's folder; ``../train/images``, as Roboflow writes it, is
also looked for as ``train/images``; a text file lists images. The labels of ``images/a.jpg`` are
``labels/a.txt``: the last folder ``images`` of the path is exchanged.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from casvit_mm.datasets.files import read_list
from casvit_mm.errors import InputError

__all__ = [
    'exists',
    'from_darknet_root',
    'is_yolo_description',
    'labels_of',
    'resolve_listed',
    'translate_description',
]

_SPLITS = ('train', 'val', 'test')
_OURS = ('classes', 'max_dets')
_TASKS = {'detect', 'segment', None}
_REFUSED = {
    'pose': 'keypoints',
    'obb': 'turned boxes (OBB)',
    'classify': 'classes of whole images in a data.yaml; name the folder with train/ and val/',
}
_MOST_CLASSES = 10**5
_WINDOWS = re.compile(r'[A-Za-z]:[\\/]')


def is_yolo_description(content: Any) -> bool:
    """Return whether the content of a YAML file is a ``data.yaml`` of YOLO."""
    return (
        isinstance(content, dict)
        and ('names' in content or 'nc' in content)
        and any(_is_paths(content.get(split)) for split in (*_SPLITS, 'validation'))
    )


def translate_description(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields of our own descriptions for those of a ``data.yaml``.

    Raises:
        InputError: If a split is no folder or list of images, the number of names is not ``nc``, or
            the labels are keypoints or turned boxes.
    """
    where = f'{path} (--data)'
    task = 'pose' if 'kpt_shape' in content else content.get('task')
    if task not in _TASKS:
        told = _REFUSED.get(str(task), f'the task {task!r}')
        raise InputError(f'{where} describes {told}, which are not learnt here')
    root, notes = _root_of(content.get('path'), path)
    fields: dict[str, Any] = {key: content[key] for key in _OURS if key in content}
    if notes:
        fields['notes'] = notes
    fields['names'] = _names_of(content, where)
    fields['root'] = str(root)
    for split in _SPLITS:
        value = content.get(split)
        if split == 'val' and value is None:
            value = content.get('validation')
        if value is None:
            continue
        if not _is_paths(value):
            raise InputError(f'{where}: {split} must name a folder of images or a text file')
        written = value if isinstance(value, list) else [value]
        fields[split] = [_source(root, one, f'{where}, {split}') for one in written]
    return fields


def _is_paths(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(one, str) for one in values)


def _names_of(content: dict[str, Any], where: str) -> Any:
    """Return ``names`` as they are written; with ``nc`` alone, those that Ultralytics makes."""
    number, names = content.get('nc'), content.get('names')
    whole = isinstance(number, int) and not isinstance(number, bool)
    if number is not None and not (whole and 0 < number <= _MOST_CLASSES):
        raise InputError(f'{where}: nc must be the number of classes, got {number!r}')
    if names is None:
        return [f'class_{i}' for i in range(number or 0)]
    if number is not None and isinstance(names, (list, dict)) and len(names) != number:
        raise InputError(
            f'{where}: nc says {number} classes, and names has {len(names)}. Correct the one that '
            'is wrong.'
        )
    return names


def _root_of(written: Any, path: Path) -> tuple[Path, list[str]]:
    """Return the folder that splits count from, and a note where ``path`` leads nowhere."""
    root = path.parent / str(written or '.')
    if exists(root) and root.is_dir():
        return _normal(root), []
    note = f'path: {written} is no folder on this machine; paths count from {path.parent}'
    return _normal(path.parent), [note]


def _source(root: Path, written: str, where: str) -> dict[str, str]:
    found = _find(root, written, where)
    if found.is_dir():
        labels = labels_of(found)
        # Where there is no such folder, they may lie beside, or deeper in the folder of images.
        return dict(images=str(found), annotations=str(labels if labels.is_dir() else found))
    if found.suffix.lower() != '.txt':
        raise InputError(f'{where}: {found} is a file; name a folder of images or a text file')
    listed = resolve_listed(found, list(read_list(found, where)), root)
    missing = [line for line, image in listed.items() if image is None]
    if missing:
        raise InputError(_describe_missing_images(missing, len(listed), found, root))
    outside = [image for image in listed.values() if image and not image.is_relative_to(root)]
    while any(not image.is_relative_to(root) for image in outside):
        root = root.parent
    return dict(images=str(root), annotations=str(root), list=str(found))


def _find(root: Path, written: str, where: str) -> Path:
    """Return the folder or file of a split.

    Raises:
        InputError: If it is not there, with the place where it is, if it is near.
    """
    plain = written.replace('\\', '/')
    for one in (written, written.removeprefix('../'), plain, plain.removeprefix('../')):
        if exists(root / one):
            return _normal(root / one)
    if not PurePosixPath(plain).is_absolute() and not _WINDOWS.match(written):
        raise InputError(
            f'{where}: folder {root / written} does not exist. Correct it, or leave the split out.'
        )
    tail = _tail_in(root, plain)
    advice = f'Write {tail} there, which' if tail else 'Write where it'
    raise InputError(
        f'{where}: {written} is no place on this machine. {advice} lies, counted from {root}, or '
        'leave the split out.'
    )


def exists(path: Path) -> bool:
    """Return whether there is a file or folder; of a path that none can have, that there is not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a zero byte in it
        return False


def _normal(path: Path) -> Path:
    """Return the absolute path; links stay, since labels lie beside them, not beside their ends."""
    return Path(os.path.abspath(path))


def _tail_in(root: Path, written: str) -> str | None:
    """Return the longest end of a path that leads somewhere from ``root``."""
    parts = PurePosixPath(written).parts
    tails = ('/'.join(parts[i:]) for i in range(1, len(parts)))
    return next((tail for tail in tails if exists(root / tail)), None)


def resolve_listed(image_list: Path, lines: list[str], root: Path) -> dict[str, Path | None]:
    """Return the image that each line of a list names, None where it is not there.

    Args:
        image_list: The list; paths count from its folder, or else from ``root``.
        lines: Its lines.
        root: Folder of the dataset.
    """
    folder = image_list.parent
    found: dict[str, Path | None] = {}
    for line in lines:
        places = (folder / line, root / line, root / from_darknet_root(line))
        there = (place for place in places if exists(place) and place.is_file())
        found[line] = next(map(_normal, there), None)
    return found


def from_darknet_root(written: str) -> str:
    """Return a path without the ``data/`` by which Darknet means the folder of the dataset."""
    return written.replace('\\', '/').removeprefix('data/')


def _describe_missing_images(missing: list[str], total: int, image_list: Path, root: Path) -> str:
    tail = _tail_in(root, missing[0].replace('\\', '/'))
    advice = f', like ./{tail}' if tail else ''
    return (
        f'list {image_list}: {len(missing)} of {total} images do not exist, first {missing[0]}. '
        f'Write paths that count from {image_list.parent} or from {root}{advice}.'
    )


def labels_of(images: Path) -> Path:
    """Return the folder of the labels of a folder, or their file of a file."""
    parts = list(images.parts)
    if 'images' not in parts:
        return images
    last = len(parts) - 1 - parts[::-1].index('images')
    return Path(*parts[:last], 'labels', *parts[last + 1 :])
