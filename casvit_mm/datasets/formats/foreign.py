"""Names annotation formats that are not read, and tells how to convert them."""

from __future__ import annotations

import codecs
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import IMAGE_SUFFIXES, find_files

__all__ = ['kind_of_xml', 'name_content', 'name_file', 'name_folder']

_COCO = 'Convert it to COCO format'
_FORMATS = {
    'cvat': "CVAT's own XML. Name this file, not its folder",
    'labelme': "LabelMe's JSON of one image. Name the folder that holds such files",
    'via': 'a project of the VGG Image Annotator. Export its annotations in COCO format',
    'createml': f"CreateML's JSON. {_COCO}, with boxes [x, y, width, height] from the upper left",
    'results': 'a list of predictions in COCO format. Name the ground truth',
    'datumaro': f"Datumaro's own JSON. {_COCO}: datum convert -if datumaro -i FOLDER -f coco",
    'archive': 'an archive. Unpack it and name the folder',
    'json_min': "Label Studio's short export. Export JSON, not JSON-MIN or CSV",
    'labelme_xml': f"the XML of the LabelMe of 2008. {_COCO}, or save JSON by today's LabelMe",
    'open_images': 'a table of Open Images. Name that of boxes or masks, or the folder by --data',
    'open_images_classes': 'a table of classes of whole images of Open Images, which is not read. '
    'Put the images into a folder for each class',
    'table': f'a table. {_COCO}',
    'yolo': 'a list of YOLO. Give the data.yaml that belongs to it as --data',
    'yolo_yaml': 'a description of YOLO. Give it as --data',
    'voc': 'Pascal VOC XML of one image. Name the folder that holds such files',
}
_ARCHIVES = ('.zip', '.tar', '.gz', '.tgz', '.7z', '.rar')
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
        kind = _kind_of_table(_start(path).partition(b'\n')[0])
    elif suffix == '.txt':
        kind = 'yolo' if _is_yolo(_start(path)) else None
    elif suffix in _ARCHIVES:
        kind = 'archive'
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
    if 'annotation_id' in first and 'lead_time' in first:
        return _FORMATS['json_min']
    return _FORMATS['results'] if 'image_id' in first and 'score' in first else None


def name_folder(folder: Path) -> str | None:
    """Say what the first file of a folder, or of those in it, is that a message can be about."""
    known = {'.xml', '.json', '.csv', '.tsv', '.txt', '.yaml', '.yml', *_ARCHIVES}
    files = [path for found in find_files(folder, known).values() for path in found]
    files.sort(key=lambda path: (path.suffix.lower() == '.txt', len(path.parts)))
    named = [(path, name_file(path)) for path in files[:_LOOKED_AT]]
    told = [(path, name) for path, name in named if name is not None]
    told.sort(key=lambda pair: pair[1] == _FORMATS['table'])  # which says least
    return f'{told[0][0].relative_to(folder).as_posix()} is {told[0][1]}' if told else None


def _kind_of_table(header: bytes) -> str:
    if b'annotation_id' in header and b'lead_time' in header:
        return 'json_min'
    if b'ImageID' not in header or b'LabelName' not in header:
        return 'table'
    has_places = b'XMin' in header or b'MaskPath' in header
    return 'open_images' if has_places else 'open_images_classes'


def _is_yolo(start: bytes) -> bool:
    """Return whether a text begins with a class and numbers, or with the path of an image."""
    line = start.lstrip(codecs.BOM_UTF8).strip().partition(b'\n')[0].decode('utf-8', 'replace')
    if os.path.splitext(line.strip())[1].lower() in IMAGE_SUFFIXES:
        return True
    return re.fullmatch(r'\d+(\s+[-+.\de]+){4,}', line.strip()) is not None


def _is_via_export(content: dict[str, Any]) -> bool:
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and {'filename', 'regions'} <= set(first)


def kind_of_xml(path: Path) -> str | None:
    """Return ``'voc'``, ``'cvat'`` or ``'labelme_xml'`` by what an XML file holds, else None."""
    kind = None
    try:
        for _, element in ElementTree.iterparse(path, events=('start',)):
            tag = element.tag.lower()
            if kind is None:
                kind = {'annotations': 'cvat', 'annotation': 'voc'}.get(tag)
                if kind != 'voc':
                    return kind
            elif tag in ('bndbox', 'pt', 'segm'):  # what an object has first
                return 'voc' if tag == 'bndbox' else 'labelme_xml'
    except (OSError, ElementTree.ParseError, ValueError, LookupError):
        pass
    return kind


def _start(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(4096)
