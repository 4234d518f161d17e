"""Label Studio: ``<split>.json`` with tasks, ``label_config.xml``, and ``images/<split>/``.

What a person has labelled becomes annotations; what a model has, predictions with scores
(https://labelstud.io/guide/predictions). Boxes become rectangles, polygons stay polygons, several
of one object become one outline, and masks become masks of the brush; the classes of a classified
image become choices. The path of an image is ``/data/local-files/?d=images/...``: Label Studio
finds it where ``LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true`` and
``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` names the folder.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from urllib.parse import quote

from casvit_mm.datasets.formats.brush import encode_brush
from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Writer, one_outline

__all__ = ['WRITER']

# By kind of region: the tag of the labelling interface, and its name there.
_TAGS = dict(
    rectanglelabels=('RectangleLabels', 'box'),
    polygonlabels=('PolygonLabels', 'outline'),
    brushlabels=('BrushLabels', 'mask'),
    choices=('Choices', 'class'),
)

Result = dict[str, Any]


def _write(labelled: LabelledSet, folder: Path) -> str | None:
    names = labelled.names
    used: set[str] = set()
    for split, images in labelled.splits.items():
        tasks: list[dict[str, Any]] = []
        for image in images:
            results = [
                _region(one, number, names[one['category_id']], image)
                for number, one in enumerate(image.objects, 1)
            ]
            results += [_choice(*chosen) for chosen in image.classes[:1]]
            used.update(result['type'] for result in results)
            place = quote(f'images/{split}/{image.name}')
            task: dict[str, Any] = dict(data=dict(image=f'/data/local-files/?d={place}'))
            key = 'predictions' if labelled.predicted else 'annotations'
            scores = [result['score'] for result in results if 'score' in result]
            score = dict(score=sum(scores) / len(scores)) if scores else {}
            version = dict(model_version='casvit_mm') if labelled.predicted else {}
            number = len(tasks) + 1  # Label Studio's own converters ask for it
            labelled_as = dict(id=number, **version, **score, result=results)
            tasks.append({'id': number, **task, key: [labelled_as]})
        path = folder / f'{split}.json'
        path.write_text(json.dumps(tasks), encoding='utf-8')
    default = 'choices' if labelled.task == 'classification' else 'rectanglelabels'
    _write_config(labelled, folder, used or {default})
    return None


def _region(one: dict[str, Any], number: int, label: str, image: ImageLabels) -> Result:
    width, height = image.width, image.height
    outline = one.get('segmentation')
    value: dict[str, Any]
    if not outline:
        kind = 'rectanglelabels'
        x, y, w, h = one['bbox']
        value = dict(x=x * 100 / width, y=y * 100 / height, rotation=0)
        value.update(width=w * 100 / width, height=h * 100 / height)
    elif isinstance(outline, dict):
        kind = 'brushlabels'
        rle = encode_brush(decode_segmentation(outline, width, height))
        value = dict(format='rle', rle=rle)
    else:
        kind = 'polygonlabels'
        joined = one_outline(outline, width, height)
        pairs = zip(joined[::2], joined[1::2], strict=True)
        value = dict(points=[[x * 100 / width, y * 100 / height] for x, y in pairs], closed=True)
    value[kind] = [label]
    result: Result = dict(id=f'r{number}', type=kind, from_name=_TAGS[kind][1], to_name='image')
    result.update(original_width=width, original_height=height, image_rotation=0, value=value)
    return {**result, 'score': one['score']} if 'score' in one else result


def _choice(name: str, score: float | None) -> Result:
    result: Result = dict(
        id='class', type='choices', from_name=_TAGS['choices'][1], to_name='image'
    )
    result.update(value=dict(choices=[name]))
    return result if score is None else {**result, 'score': score}


def _write_config(labelled: LabelledSet, folder: Path, used: set[str]) -> None:
    """Write the labelling interface that the names in the results belong to."""
    view = ElementTree.Element('View')
    ElementTree.SubElement(view, 'Image', name='image', value='$image')
    for kind, (tag, name) in _TAGS.items():
        if kind in used:
            element = ElementTree.SubElement(view, tag, name=name, toName='image')
            for category in labelled.categories:
                inner = 'Choice' if kind == 'choices' else 'Label'
                ElementTree.SubElement(element, inner, value=category['name'])
    tree = ElementTree.ElementTree(view)
    ElementTree.indent(tree)
    tree.write(folder / 'label_config.xml', encoding='utf-8')


WRITER = Writer(
    'Label Studio',
    frozenset({'outlines', 'masks', 'scores'}),
    _write,
    classifies=True,
    one_stem=False,
)
