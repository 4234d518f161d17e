"""LabelMe: a JSON file beside each image, in a folder for each split.

Boxes become rectangles, polygons stay polygons, several of one object with one ``group_id``, and
masks become masks. Of attributes those that are true or false become flags, and ``description``
stays; a score is written as ``score``, which LabelMe keeps. The classes of a classified image
become its flags.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Writer

__all__ = ['WRITER']

_VERSION = '5.5.0'  # of LabelMe, whose files these are like

Shape = dict[str, Any]


def _write(labelled: LabelledSet, folder: Path) -> None:
    names = labelled.names
    for split, images in labelled.splits.items():
        for image in images:
            shapes = [
                shape
                for group, one in enumerate(image.objects, 1)
                for shape in _shapes(one, group, names[one['category_id']], image, labelled)
            ]
            chosen = {name for name, _ in image.classes[:1]}
            flags = {name: name in chosen for name in names.values()} if chosen else {}
            content: dict[str, Any] = dict(version=_VERSION, flags=flags, shapes=shapes)
            content.update(imagePath=Path(image.name).name, imageData=None)
            content.update(imageHeight=image.height, imageWidth=image.width)
            path = (folder / split / image.name).with_suffix('.json')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=2), encoding='utf-8')


def _shapes(
    one: dict[str, Any], group: int, label: str, image: ImageLabels, labelled: LabelledSet
) -> list[Shape]:
    """Return the shapes of one object."""
    attributes = dict(one.get('attributes') or {})
    description = attributes.pop('description', '')
    flags = {key: value for key, value in attributes.items() if isinstance(value, bool)}
    labelled.lost['attributes of objects that are neither true nor false'] += len(attributes) > len(
        flags
    )
    shape: Shape = dict(label=label, group_id=None, description=description, flags=flags)
    if 'score' in one:
        shape['score'] = one['score']
    outline = one.get('segmentation')
    if not outline:
        x, y, w, h = one['bbox']
        return [{**shape, 'shape_type': 'rectangle', 'points': [[x, y], [x + w, y + h]]}]
    if isinstance(outline, dict):
        return [{**shape, **_mask(decode_segmentation(outline, image.width, image.height))}]
    if len(outline) > 1:
        shape['group_id'] = group
    return [
        {**shape, 'shape_type': 'polygon', 'points': np.reshape(polygon, (-1, 2)).tolist()}
        for polygon in outline
    ]


def _mask(mask: np.ndarray) -> Shape:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top, right, bottom = (int(v) for v in (columns[0], rows[0], columns[-1], rows[-1]))
    file = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(file, format='PNG')
    text = base64.b64encode(file.getvalue()).decode()
    return dict(shape_type='mask', points=[[left, top], [right, bottom]], mask=text)


WRITER = Writer(
    'LabelMe',
    frozenset({'outlines', 'masks', 'parts', 'attributes', 'scores'}),
    _write,
    image_folder='{split}',
    classifies=True,
)
