"""What a detector finds, as COCO results in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from casvit_mm.io import replacing

__all__ = ['write_predictions']


def write_predictions(path: str | Path, predictions: dict[str, list[dict[str, Any]]]) -> list[Path]:
    """Write COCO results (https://cocodataset.org/#format-results), one detection per line.

    Boxes and masks go to two files: COCO's tools take the area of a detection that has both from
    its box, which would shift masks between the sizes small, medium and large.

    Args:
        path: File for the boxes; masks go to ``<stem>.segm.json`` beside it.
        predictions: COCO results by ``'bbox'`` and ``'segm'``.

    Returns:
        The files written.

    Raises:
        InputError: If a file cannot be written; the old one is then as it was.
    """
    path = Path(path)
    fields = {'bbox': 'bbox', 'segm': 'segmentation'}
    files = {'bbox': path, 'segm': path.with_name(f'{path.stem}.segm.json')}
    for kind, detections in predictions.items():
        with replacing(files[kind]) as file:
            keys = ('image_id', 'category_id', fields[kind], 'score')
            for number, detection in enumerate(detections):
                line = json.dumps({key: detection[key] for key in keys})
                file.write(f'{"," if number else "["}\n{line}')
            file.write('\n]\n' if detections else '[]\n')
    return [files[kind] for kind in predictions]
