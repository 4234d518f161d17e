"""Which annotations of COCO format mmdet takes as objects, and why it leaves the others out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from casvit_mm.cli import job_command
from casvit_mm.datasets.formats.coco_values import is_box, is_id, is_number

__all__ = ['describe_obstacles', 'find_obstacle']

# Obstacle: what is the case, and what to do.
_OBSTACLES = {
    'malformed': (
        'have no sound box and area, or belong to no sound image',
        'correct those first',
    ),
    'outside': ('have a box outside their image', 'correct the boxes or the sizes of the images'),
    'tiny': (
        'have a box below 1 px',
        'boxes are in pixels: multiply shares by the width and height of the image',
    ),
    'area': ('have an area of 0 or less', f'{job_command("check_data")} --fix DIR computes it'),
    'ignored': ('have ignore: 1', 'write 0 where the object is to be learnt'),
    'crowd': (
        'have iscrowd: 1, which says that one box holds many objects and is not learnt',
        'write 0 where it is a single object; some tools export every brush mask as a crowd',
    ),
}


def find_obstacle(annotation: Any, sizes: dict[int, tuple[int, int]]) -> str | None:
    """Return why mmdet takes an annotation for no object; None if it takes it.

    Args:
        annotation: Entry of the list of annotations.
        sizes: Width and height by image id, of the images that can be used.
    """
    if not isinstance(annotation, dict):
        return 'malformed'
    box, image, area = (annotation.get(key) for key in ('bbox', 'image_id', 'area'))
    if not (is_id(image) and image in sizes and is_box(box) and is_number(area)):
        return 'malformed'
    if annotation.get('iscrowd', 0):
        return 'ignored' if annotation.get('ignored') else 'crowd'
    if area <= 0:
        return 'area'
    x, y, w, h = box
    if w < 1 or h < 1:
        return 'tiny'
    width, height = sizes[image]
    inside = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
    return None if inside else 'outside'


def describe_obstacles(obstacles: Sequence[str | None]) -> str:
    """Return the message for annotations of which every one has an obstacle."""
    counts = Counter(obstacles)
    if not obstacles:
        return 'no usable annotation: 0 listed. Annotate some objects, or name another file.'
    found = [
        f'{counts[kind]} {what} ({advice})'
        for kind, (what, advice) in _OBSTACLES.items()
        if counts[kind]
    ]
    return f'no usable annotation: of {len(obstacles)} listed, {"; ".join(found)}.'
