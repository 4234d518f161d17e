"""YOLO as Darknet reads it, and CVAT ("YOLO 1.1") and Datumaro write it: ``obj.data``.

``obj.data`` says ``names = data/obj.names`` and ``train = data/train.txt``, also ``valid`` or
``val`` and ``test``; the lists name images, and a text file beside each image has its objects
(https://github.com/AlexeyAB/darknet#how-to-train-to-detect-your-custom-objects). ``data/`` at the
head of a path is the folder of ``obj.data``. The text files are read as those of any YOLO.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import read_text
from casvit_mm.datasets.formats import yolo
from casvit_mm.datasets.formats.base import Format
from casvit_mm.datasets.formats.yolo_yaml import exists, from_darknet_root, translate_description
from casvit_mm.errors import InputError

__all__ = ['FORMAT']

_SPLITS = dict(train='train', valid='val', val='val', test='test')


def _describe(path: Path) -> dict[str, Any] | None:
    """Describe a ``.data`` file, or a folder that holds one."""
    files = sorted(path.glob('*.data')) if path.is_dir() else [path]
    found = [(file, fields) for file in files if (fields := _read_fields(file)) is not None]
    if not found:
        return None
    if len(found) > 1:
        names = ', '.join(file.name for file, _ in found)
        raise InputError(f'{path} (--data) holds several files of Darknet: {names}; name one')
    file, fields = found[0]
    listed = file.parent / from_darknet_root(fields['names'])
    if not (exists(listed) and listed.is_file()):
        raise InputError(
            f'{file} (--data): {fields["names"]}, which names the classes, does not exist'
        )
    content: dict[str, Any] = dict(names=_lines(listed))
    for key, split in _SPLITS.items():
        if fields.get(key):
            content[split] = from_darknet_root(fields[key])
    if re.fullmatch(r'[0-9]{1,9}', number := fields.get('classes', '')):
        content['nc'] = int(number)
    return translate_description(content, file)


def _read_fields(path: Path) -> dict[str, str] | None:
    """Return what a file says as ``key = value``; None if it is none of Darknet."""
    if path.suffix.lower() != '.data' or not path.is_file():
        return None
    pairs = [line.partition('=') for line in _lines(path)]
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    return fields if {'names', 'train'} <= set(fields) else None


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise InputError(f'{path} (--data) is no text in UTF-8: {error}') from error


FORMAT = Format(
    name='YOLO (Darknet)',
    reads='obj.data of Darknet, CVAT or Datumaro, with lists of images and a text file beside each',
    holds=lambda path: False,  # numbers alone: a description says the names
    describe=_describe,
    read=yolo.FORMAT.read,
    reads_lists=True,
)
