"""Pascal VOC: ``Annotations/``, ``JPEGImages/`` and ``ImageSets/Main/``, and a ``dataset.yaml``.

Boxes in pixels counted from 1, as :mod:`casvit_mm.datasets.formats.voc` reads them; a crowd becomes
an object marked ``difficult``. Outlines and masks are not held, nor are images of one name in
several folders: those are renamed.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import yaml

from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Writer

__all__ = ['WRITER']


def _write(labelled: LabelledSet, folder: Path) -> str:
    names = labelled.names
    (folder / 'Annotations').mkdir()
    lists = folder / 'ImageSets/Main'
    lists.mkdir(parents=True)
    description: dict[str, Any] = {}
    for split, images in labelled.splits.items():
        for image in images:
            path = (folder / 'Annotations' / image.name).with_suffix('.xml')
            tree = ElementTree.ElementTree(_element(image, names, labelled))
            ElementTree.indent(tree)
            tree.write(path, encoding='utf-8')
        stems = ''.join(f'{Path(image.name).stem}\n' for image in images)
        (lists / f'{split}.txt').write_text(stems, encoding='utf-8')
        places = dict(annotations='Annotations', images='JPEGImages')
        description[split] = dict(places, list=f'ImageSets/Main/{split}.txt')
    fields = {**description, **labelled.fields}
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    (folder / 'dataset.yaml').write_text(text, encoding='utf-8')
    used = {one['category_id'] for image in labelled.images() for one in image.objects}
    labelled.lost['classes without an object'] += len(set(names) - used)
    return 'dataset.yaml'


def _element(
    image: ImageLabels, names: dict[int, str], labelled: LabelledSet
) -> ElementTree.Element:
    root = ElementTree.Element('annotation')
    _add(root, folder='JPEGImages', filename=image.name)
    _add(ElementTree.SubElement(root, 'size'), width=image.width, height=image.height, depth=3)
    _add(root, segmented=0)
    for one in image.objects:
        x, y, w, h = one['bbox']
        element = ElementTree.SubElement(root, 'object')
        _add(element, name=names[one['category_id']], pose='Unspecified', truncated=0)
        _add(element, difficult=int(bool(one.get('iscrowd'))))
        corners = dict(xmin=x + 1, ymin=y + 1, xmax=x + 1 + w, ymax=y + 1 + h)
        if any(value != int(value) for value in corners.values()):
            labelled.lost['parts of a pixel for readers of VOC that take whole numbers alone'] += 1
        _add(ElementTree.SubElement(element, 'bndbox'), **corners)
    return root


def _add(parent: ElementTree.Element, **texts: Any) -> None:
    for tag, value in texts.items():
        whole = isinstance(value, float) and value.is_integer()
        element = ElementTree.SubElement(parent, tag)
        element.text = str(int(value) if whole else value)


WRITER = Writer('Pascal VOC', frozenset({'crowds'}), _write, 'JPEGImages', flat=True)
