"""Names annotation formats that are not read, and tells how to convert them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

__all__ = ['kind_of_xml', 'name_content', 'name_file', 'name_folder']

_COCO = 'Convert it to COCO format'
_FORMATS = {
    'cvat': "CVAT's own XML. Name this file, not its folder",
    'labelme': "LabelMe's JSON of one image. Name the folder that holds such files",
    'via': 'a project of the VGG Image Annotator. Export its annotations in COCO format',
    'createml': f"CreateML's JSON. {_COCO}, with boxes [x, y, width, height] from the upper left",
    'results': 'a list of predictions in COCO format. Name the ground truth',
    'datumaro': f"Datumaro's own JSON. {_COCO}: datum convert -if datumaro -i FOLDER -f coco",
    'open_images': 'a table of Open Images. Name that of the boxes, or the folder by --data',
    'table': f'a table. {_COCO}',
    'yolo': 'a list of YOLO. Give the data.yaml that belongs to it as --data',
    'yolo_yaml': 'a description of YOLO. Give it as --data',
    'voc': 'Pascal VOC XML of one image. Name the folder that holds such files',
}
_LOOKED_AT = 20  # files of a folder


def name_file(path: Path) -> str | None:
    """Say what a file is and what to do, if its format is known and cannot stand in its place."""
    suffix = path.suffix.lower()
    kind = None
    if suffix == '.xml':
        kind = kind_of_xml(path)
    elif suffix == '.json':
        try:
            return name_content(json.loads(path.read_bytes()))
        except (OSError, ValueError, RecursionError):
            return None
    elif suffix in ('.csv', '.tsv'):
        kind = 'open_images' if b'ImageID' in _start(path) else 'table'
    elif suffix == '.txt':
        kind = 'yolo'
    elif suffix in ('.yaml', '.yml'):
        kind = 'yolo_yaml' if b'names' in _start(path) else None
    return None if kind is None else _FORMATS[kind]


def name_content(content: Any) -> str | None:
    """Say the same of the content of a JSON file; None for COCO content and what is not known."""
    if isinstance(content, dict):
        if 'shapes' in content and 'imagePath' in content:
            return _FORMATS['labelme']
        if any(key.startswith('_via_') for key in content) or _is_via_export(content):
            return _FORMATS['via']
        return _FORMATS['datumaro'] if isinstance(content.get('items'), list) else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return None
    if 'annotations' in first and 'image' in first:
        return _FORMATS['createml']
    return _FORMATS['results'] if 'image_id' in first and 'score' in first else None


def name_folder(folder: Path) -> str | None:
    """Say what the first file of a folder is that a message can be about."""
    for path in sorted(folder.iterdir())[:_LOOKED_AT]:
        if path.is_file() and (named := name_file(path)) is not None:
            return f'{path.name} is {named}'
    return None


def _is_via_export(content: dict[str, Any]) -> bool:
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and {'filename', 'regions'} <= set(first)


def kind_of_xml(path: Path) -> str | None:
    """Return ``'voc'`` or ``'cvat'`` by the root of an XML file, None for another one."""
    try:
        for _, element in ElementTree.iterparse(path, events=('start',)):
            return {'annotations': 'cvat', 'annotation': 'voc'}.get(element.tag.lower())
    except (OSError, ElementTree.ParseError, ValueError, LookupError):
        pass
    return None


def _start(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(4096)
