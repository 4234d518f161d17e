"""The YAML file that describes a detection dataset.

::

    root: .                      # counts from this file; may be left out
    train: {annotations: train.json, images: images}
    val:   {annotations: val.json, images: images}
    test:  {annotations: test.json, images: images}    # may be left out: val is used
    max_dets: 100                # raise it where images hold more objects
    classes: [cat, dog]          # may be left out; drops the others, or renames and joins:
                                 #   {pet: [cat, dog]}
    boxes: corners               # where a COCO file has [x1, y1, x2, y2] for boxes

``annotations`` is a file or folder in any of the formats of
:data:`casvit_mm.datasets.formats.registry.FORMATS`; YOLO labels need ``names: [cat, dog]``, and a
``data.yaml`` of Ultralytics is read as such a description. ``list`` beside it names a text file
with the images to take, ``subset`` a subset of CVAT's; a list of such entries joins several
sources. ``data`` and ``split`` take one set apart, see :mod:`casvit_mm.datasets.description`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from casvit_mm.datasets.object_description import ObjectDescription, read_object_fields
from casvit_mm.errors import InputError

__all__ = ['DetectionDescription', 'read_dataset']


@dataclass(frozen=True)
class DetectionDescription(ObjectDescription):
    """A detection dataset as its YAML file describes it.

    Attributes:
        max_dets: Detections per image that training and evaluation allow for.
    """

    max_dets: int = 100


def read_dataset(path: str | Path) -> DetectionDescription:
    """Read the ``dataset.yaml`` of a detection dataset.

    Raises:
        InputError: If it is missing, not YAML, describes another task, or has unknown, missing or
            malformed fields.
    """
    described, content = read_object_fields(path, {'max_dets'})
    max_dets = content.get('max_dets', 100)
    if not isinstance(max_dets, int) or isinstance(max_dets, bool) or max_dets < 1:
        raise InputError(f'{path}: max_dets must be a positive integer, got {max_dets!r}')
    return DetectionDescription(**vars(described), max_dets=max_dets)
