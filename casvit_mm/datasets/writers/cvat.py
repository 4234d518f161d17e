"""CVAT: ``annotations.xml`` as "CVAT for images 1.1", beside ``images/``.

Boxes, polygons, several of one object with one ``group_id``, and masks. The split of an image is
its subset. Attributes are declared with their labels, as CVAT asks for. The classes of a classified
image become tags. Scores are not held; what a model has labelled has the source ``auto``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Writer

__all__ = ['WRITER']

_SUBSETS = dict(train='Train', val='Validation', test='Test')

Element = ElementTree.Element


def _write(labelled: LabelledSet, folder: Path) -> None:
    root = ElementTree.Element('annotations')
    _add_text(root, 'version', '1.1')
    _add_meta(root, labelled)
    source = 'auto' if labelled.predicted else 'manual'
    names, number = labelled.names, 0
    for split, images in labelled.splits.items():
        for image in images:
            element = ElementTree.SubElement(root, 'image', id=str(number), name=image.name)
            if len(labelled.splits) > 1:
                element.set('subset', _SUBSETS.get(split, split))
            element.set('width', str(image.width))
            element.set('height', str(image.height))
            for group, one in enumerate(image.objects, 1):
                label = names[one['category_id']]
                _add_shapes(element, one, image, dict(label=label, source=source), group)
            for name, _ in image.classes[:1]:
                ElementTree.SubElement(element, 'tag', label=name, source=source)
            number += 1
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    tree.write(folder / 'annotations.xml', encoding='utf-8', xml_declaration=True)


def _add_meta(root: Element, labelled: LabelledSet) -> None:
    task = ElementTree.SubElement(ElementTree.SubElement(root, 'meta'), 'task')
    _add_text(task, 'size', str(sum(map(len, labelled.splits.values()))))
    labels = ElementTree.SubElement(task, 'labels')
    used: dict[int, set[str]] = {}
    for image in labelled.images():
        for one in image.objects:
            keys = set(one.get('attributes') or ()) - {'occluded'}
            used.setdefault(one['category_id'], set()).update(keys)
    for category in labelled.categories:
        label = ElementTree.SubElement(labels, 'label')
        _add_text(label, 'name', category['name'])
        attributes = ElementTree.SubElement(label, 'attributes')
        for name in sorted(used.get(category['id'], ())):
            attribute = ElementTree.SubElement(attributes, 'attribute')
            texts = dict(name=name, mutable='False', input_type='text', default_value='', values='')
            for tag, text in texts.items():
                _add_text(attribute, tag, text)


def _add_shapes(
    parent: Element, one: dict[str, Any], image: ImageLabels, common: dict[str, str], group: int
) -> None:
    attributes = dict(one.get('attributes') or {})
    common = dict(common, occluded=str(int(attributes.pop('occluded', False) is True)), z_order='0')
    outline = one.get('segmentation')
    if not outline:
        x, y, w, h = one['bbox']
        corners = dict(xtl=x, ytl=y, xbr=x + w, ybr=y + h)
        shapes = [('box', {key: repr(float(value)) for key, value in corners.items()})]
    elif isinstance(outline, dict):
        shapes = [('mask', _mask(decode_segmentation(outline, image.width, image.height)))]
    else:
        shapes = [('polygon', dict(points=_points(polygon))) for polygon in outline]
        if len(outline) > 1:
            common['group_id'] = str(group)
    for kind, fields in shapes:
        element = ElementTree.SubElement(parent, kind, {**common, **fields})
        for name, value in attributes.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            _add_text(element, 'attribute', text, name=name)


def _add_text(parent: Element, tag: str, text: str, **fields: str) -> None:
    element = ElementTree.SubElement(parent, tag, fields)
    element.text = text


def _points(polygon: list[float]) -> str:
    pairs = zip(polygon[::2], polygon[1::2], strict=True)
    return ';'.join(f'{float(x)!r},{float(y)!r}' for x, y in pairs)


def _mask(mask: np.ndarray) -> dict[str, str]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left, height, width = rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1
    flat = mask[top : top + height, left : left + width].ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    runs = np.diff(ends, prepend=0).tolist()
    rle = ', '.join(map(str, [0, *runs] if flat[0] else runs))
    return dict(rle=rle, left=str(left), top=str(top), width=str(width), height=str(height))


WRITER = Writer(
    'CVAT for images',
    frozenset({'outlines', 'masks', 'parts', 'attributes'}),
    _write,
    image_folder='images',
    classifies=True,
    subfolders=True,
    one_stem=False,
)
