"""Writes a clean copy of a dataset's annotations: what can be fixed is, and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.copies import (
    describe_split,
    is_one_set,
    refuse_copy,
    write_description,
)
from casvit_mm.datasets.formats.coco_values import is_box, is_id, is_number, is_polygon, is_size
from casvit_mm.datasets.formats.packed import plain_object
from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.issues import FIXED_IN_TRAIN, Issue
from casvit_mm.datasets.object_sources import join_splits
from casvit_mm.detection.data.checks import Inspection, content_issues
from casvit_mm.detection.data.issues import ISSUE_KINDS
from casvit_mm.detection.data.mask_checks import Masks, read_masks
from casvit_mm.detection.data.objects import Objects, read_objects
from casvit_mm.errors import InputError
from casvit_mm.io import replacing

__all__ = ['fix_dataset', 'fix_split']

_ROUNDS = 8  # fixing one issue can show another, as clipping a polygon shows a wrong area
_DROPPED = (
    'malformed entry',
    'unknown category',
    'unknown image',
    'malformed box',
    'malformed flag',
    'box without area',
    'box outside its image',
    'duplicate box',
    'RLE that does not decode',
    'RLE of another size',
    'empty RLE',
    'missing image',
    'unreadable image',
    'image turned by EXIF',
)


@dataclass
class _Fixing:
    """The annotations of one split while they are fixed.

    Attributes:
        content: Lists of images, annotations and categories, changed in place.
        scans: What the image files hold, by position in the list of images as it was read.
        objects: The well-formed objects at the start of the round.
        masks: Their masks.
        mask_set: Whether an object without mask is worth nothing.
        dropped: Positions to drop at the end of the round, by list.
    """

    content: dict[str, Any]
    scans: dict[int, ImageScan]
    objects: Objects
    masks: Masks
    mask_set: bool
    dropped: dict[str, set[int]] = field(
        default_factory=lambda: {'images': set(), 'annotations': set()}
    )

    @cached_property
    def first_entry(self) -> dict[str, int]:
        """Position of the first entry of every image file that has an id."""
        first: dict[str, int] = {}
        for i, entry in enumerate(self.content['images']):
            name = entry.get('file_name') if isinstance(entry, dict) else None
            if isinstance(name, str) and is_id(entry.get('id')):
                first.setdefault(os.path.normpath(name), i)
        return first

    @cached_property
    def objects_of(self) -> dict[int, list[dict]]:
        """Annotations by the image id that they had at the start of the round."""
        found: dict[int, list[dict]] = {}
        for entry in self.content['annotations']:
            if isinstance(entry, dict) and is_id(entry.get('image_id')):
                found.setdefault(entry['image_id'], []).append(entry)
        return found


def fix_dataset(inspection: Inspection, folder: str | Path) -> tuple[Path, list[tuple[str, Issue]]]:
    """Write a clean copy of the annotations and a ``dataset.yaml`` that points to it.

    Images stay where they are.

    Args:
        inspection: What was found, with the images read.
        folder: Where to write ``{train,val,test}.json``, of folds ``data.json``, ``changes.json``
            and ``dataset.yaml``.

    Returns:
        The ``dataset.yaml``, and what was fixed as (split, issue).

    Raises:
        InputError: If such a file is there already, or something is wrong that only a person can
            fix; then nothing is written.
    """
    folder, data = Path(folder), inspection.data
    whole = is_one_set(data.split, drawn=True)
    names = ['data.json'] if whole else [f'{split}.json' for split in data.splits]
    refuse_copy(folder, names, inspection.issues, _is_by_hand)
    contents, changes = {}, []
    for split in inspection.loaded:
        contents[split], fixed = fix_split(inspection, split)
        changes += [(split, issue) for issue in fixed]
    fixed_splits = {
        split: dataclasses.replace(loaded, content=contents[split])
        for split, loaded in inspection.loaded.items()
    }
    if whole:  # the copy is taken apart in its turn
        fixed_splits = {'data': join_splits(list(fixed_splits.values()), 'data', data)}
    for split, loaded in fixed_splits.items():
        with replacing(folder / f'{split}.json') as file:
            file.write(json.dumps(loaded.content))
    description: dict[str, Any] = {
        split: dict(annotations=f'{split}.json', images=str(loaded.images))
        for split, loaded in fixed_splits.items()
    }
    if whole and data.split is not None:
        description['split'] = describe_split(data.split)
    description['max_dets'] = data.max_dets
    if data.boxes:
        description['boxes'] = 'sizes'
    return write_description(folder, description, changes, ISSUE_KINDS), changes


def _is_by_hand(split: str, issue: Issue) -> bool:
    if issue.kind in FIXED_IN_TRAIN:
        return split != 'train'
    return not ISSUE_KINDS[issue.kind].fix and issue.kind != 'no usable object'


def fix_split(inspection: Inspection, split: str) -> tuple[dict[str, Any], list[Issue]]:
    """Return a fixed copy of the annotations of a split, and what was fixed.

    Raises:
        InputError: If no usable object would be left.
    """
    loaded = inspection.loaded[split]
    packed = loaded.content
    content = copy.deepcopy({**packed, 'annotations': [*map(plain_object, packed['annotations'])]})
    mask_set = _is_mask_set(content, inspection.with_masks)
    issues = inspection.issues[split]
    scans = inspection.scans[split]
    # What is about no single entry is fixed with the entries, or was left out when reading.
    fixed = [
        d
        for d in issues
        if d.entry is None and ISSUE_KINDS[d.kind].fix and not _is_by_hand(split, d)
    ]
    for _ in range(_ROUNDS):
        todo = [d for d in issues if _is_fixed(d, split, mask_set)]
        if not todo:
            break
        # Images first: a box is not to be clipped at an edge that is wrong itself.
        todo = [d for d in todo if d.entry and d.entry[0] == 'images'] or todo
        objects = read_objects(content)
        state = _Fixing(content, scans, objects, read_masks(content, objects), mask_set)
        for issue in todo:
            _fix_one(state, issue)
        _drop(content, state.dropped)
        fixed += todo
        scans = {}  # positions have changed; nothing in the files is wrong any more
        issues = content_issues(content, loaded.images, inspection.with_masks, split)
    fatal = [d for d in issues if d.fatal and d not in fixed]
    if fatal:
        raise InputError(
            f'--fix would leave {split} with {len(content["images"])} images and '
            f'{len(content["annotations"])} annotations, and still {fatal[0].message}'
        )
    return content, fixed


def _is_mask_set(content: dict[str, Any], with_masks: bool | None) -> bool:
    """Return whether masks are wanted: by the config or, without one, by most annotations."""
    if with_masks is not None:
        return with_masks
    annotations = [a for a in content['annotations'] if isinstance(a, dict)]
    return sum(bool(a.get('segmentation')) for a in annotations) > len(annotations) / 2


def _is_fixed(issue: Issue, split: str, mask_set: bool) -> bool:
    if issue.kind == 'image in two splits':
        return split == 'train'
    if issue.kind == 'object without mask':
        return mask_set
    return issue.entry is not None and bool(ISSUE_KINDS[issue.kind].fix)


def _fix_one(state: _Fixing, issue: Issue) -> None:
    assert issue.entry is not None
    section, index = issue.entry
    if issue.kind in (*_DROPPED, 'image in two splits', 'object without mask'):
        state.dropped[section].add(index)
    else:
        _FIXES[issue.kind](state, section, index)


def _fill_fields(state: _Fixing, section: str, index: int) -> None:
    entry = state.content[section][index]
    known = isinstance(entry, dict) and {'image_id', 'category_id', 'bbox'} <= set(entry)
    if section != 'annotations' or not known:
        state.dropped[section].add(index)
        return
    if 'id' not in entry:
        _number_anew(state, section, index)
    if 'area' not in entry:
        _set_area(state, section, index)


def _number_anew(state: _Fixing, section: str, index: int) -> None:
    entries = state.content[section]
    ids = [e['id'] for e in entries if isinstance(e, dict) and is_id(e.get('id'))]
    entries[index]['id'] = max(ids, default=0) + 1


def _set_area(state: _Fixing, section: str, index: int) -> None:
    entry, row = state.content[section][index], state.objects.row_of(index)
    area = float('nan') if row is None else float(state.masks.area[row])
    if np.isnan(area) and is_box(entry['bbox']):
        area = max(0.0, entry['bbox'][2]) * max(0.0, entry['bbox'][3])
    entry['area'] = 0.0 if np.isnan(area) else round(area, 2)


def _drop_same_id(state: _Fixing, section: str, index: int) -> None:
    entries = state.content[section]
    repeated = entries[index]
    same = [
        i
        for i, e in enumerate(entries)
        if isinstance(e, dict) and e.get('id') == repeated['id'] and 'file_name' in e
    ]
    one_file = len({entries[i]['file_name'] for i in same}) == 1
    state.dropped[section].update([index] if one_file else same)


def _join_files(state: _Fixing, section: str, index: int) -> None:
    """Give the objects of a repeated entry to the first entry of the file."""
    entries = state.content[section]
    entry = entries[index]
    first = state.first_entry[os.path.normpath(entry['file_name'])]
    if any(entries[first].get(side) != entry.get(side) for side in ('width', 'height')):
        state.dropped[section].update([first, index])
        return
    for annotation in state.objects_of.get(entry['id'], ()):
        annotation['image_id'] = entries[first]['id']
    state.dropped[section].add(index)


def _correct_size(state: _Fixing, section: str, index: int) -> None:
    scan = state.scans.get(index)
    if scan is None or scan.error or scan.damage:
        return  # missing or unreadable, and therefore dropped
    entry = state.content[section][index]
    old = entry['width'], entry['height']
    entry['width'], entry['height'] = new = scan.upright
    if not is_size(*old):
        return
    x, y = new[0] / old[0], new[1] / old[1]
    if abs(x / y - 1) > 0.01:
        return
    # Same proportions: the image was resized after it was annotated.
    for annotation in state.content['annotations']:
        if isinstance(annotation, dict) and annotation.get('image_id') == entry['id']:
            _scale(annotation, x, y)


def _scale(annotation: dict[str, Any], x: float, y: float) -> None:
    if is_box(annotation.get('bbox')):
        annotation['bbox'] = (np.array(annotation['bbox']) * [x, y, x, y]).round(2).tolist()
    if is_number(annotation.get('area')):
        annotation['area'] *= x * y
    segmentation = annotation.get('segmentation')
    if isinstance(segmentation, list):
        annotation['segmentation'] = [
            (np.reshape(p, (-1, 2)) * [x, y]).round(2).ravel().tolist() if is_polygon(p) else p
            for p in segmentation
        ]


def _clip_box(state: _Fixing, section: str, index: int) -> None:
    row = state.objects.row_of(index)
    assert row is not None
    x, y, w, h = state.content[section][index]['bbox']
    width, height = state.objects.size[row].tolist()
    left, top = max(x, 0), max(y, 0)
    box = [left, top, min(x + w, width) - left, min(y + h, height) - top]
    state.content[section][index]['bbox'] = [round(float(v), 4) for v in box]


def _box_of_mask(state: _Fixing, section: str, index: int) -> None:
    row = state.objects.row_of(index)
    assert row is not None
    box = state.masks.box[row].round(2).tolist()
    state.content[section][index]['bbox'] = box


def _keep_polygons(state: _Fixing, index: int, polygons: list[list[float]]) -> None:
    annotation = state.content['annotations'][index]
    if polygons:
        annotation['segmentation'] = polygons
    elif state.mask_set and not annotation.get('iscrowd'):
        state.dropped['annotations'].add(index)
    else:
        annotation.pop('segmentation')


def _drop_polygons(state: _Fixing, section: str, index: int) -> None:
    import shapely

    segmentation = state.content[section][index].get('segmentation')
    polygons = segmentation if isinstance(segmentation, list) else []
    sound = [p for p in polygons if is_polygon(p)]
    kept = [p for p in sound if shapely.Polygon(np.reshape(p, (-1, 2))).area > 0]
    _keep_polygons(state, index, kept)


def _clip_polygons(state: _Fixing, section: str, index: int) -> None:
    import shapely

    row = state.objects.row_of(index)
    assert row is not None
    frame = shapely.box(0, 0, *state.objects.size[row])
    kept: list[list[float]] = []
    for polygon in state.content[section][index].get('segmentation', []):
        shape = shapely.make_valid(shapely.Polygon(np.reshape(polygon, (-1, 2))))
        for part in shapely.get_parts(shape.intersection(frame)):
            if part.geom_type == 'Polygon' and part.area > 0:
                points = shapely.get_coordinates(part.exterior)[:-1]
                kept.append(points.round(2).ravel().tolist())
    _keep_polygons(state, index, kept)


def _drop(content: dict[str, Any], dropped: dict[str, set[int]]) -> None:
    """Drop entries, and the annotations of images that are dropped."""
    gone = set()
    for i in dropped['images']:
        entry = content['images'][i]
        if isinstance(entry, dict) and is_id(entry.get('id')):
            gone.add(entry['id'])
    content['images'] = [e for i, e in enumerate(content['images']) if i not in dropped['images']]
    # A repeated entry of the same file goes, the image stays.
    gone -= {e.get('id') for e in content['images'] if isinstance(e, dict)}
    content['annotations'] = [
        e
        for i, e in enumerate(content['annotations'])
        if i not in dropped['annotations']
        and not (isinstance(e, dict) and is_id(e.get('image_id')) and e['image_id'] in gone)
    ]


_FIXES: dict[str, Callable[[_Fixing, str, int], None]] = {
    'missing field': _fill_fields,
    'duplicate image id': _drop_same_id,
    'file under two image ids': _join_files,
    'duplicate annotation id': _number_anew,
    'impossible image size': _correct_size,
    'image of another size': _correct_size,
    'malformed area': _set_area,
    'area not positive': _set_area,
    'area differs from object': _set_area,
    'broken polygon': _drop_polygons,
    'flat polygon': _drop_polygons,
    'box beyond the edge': _clip_box,
    'polygon beyond the image': _clip_polygons,
    'box differs from mask': _box_of_mask,
}
