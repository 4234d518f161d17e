"""COCO format: ``annotations/instances_<split>.json``, ``images/<split>/`` and ``dataset.yaml``.

Everything is held: ids, crowds, polygons and RLE, areas, attributes, scores and what else the
entries say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from casvit_mm.datasets.writers.base import HELD, LabelledSet, Writer

__all__ = ['WRITER']


def _write(labelled: LabelledSet, folder: Path) -> str:
    description: dict[str, Any] = {}
    (folder / 'annotations').mkdir()
    for split, images in labelled.splits.items():
        content: dict[str, Any] = {**labelled.more.get(split, {}), 'images': [], 'annotations': []}
        for number, image in enumerate(images, 1):
            size = dict(width=image.width, height=image.height)
            entry = {'id': number, **image.entry, 'file_name': image.name, **size}
            content['images'].append(entry)
            for one in image.objects:
                numbers = dict(id=len(content['annotations']) + 1)
                content['annotations'].append({**numbers, **_plain(one), 'image_id': entry['id']})
        content['categories'] = labelled.categories
        path = folder / 'annotations' / f'instances_{split}.json'
        path.write_text(json.dumps(content))
        places = dict(annotations=f'annotations/{path.name}', images=f'images/{split}')
        description[split] = places
    text = yaml.safe_dump({**description, **labelled.fields}, sort_keys=False)
    (folder / 'dataset.yaml').write_text(text)
    return 'dataset.yaml'


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation without what reading has added."""
    plain = {key: value for key, value in one.items() if key not in ('source', 'ignored')}
    return {**plain, 'iscrowd': 0, 'ignore': 1} if one.get('ignored') else plain


WRITER = Writer('COCO', frozenset(HELD), _write, one_stem=False)
