"""Which objects of neighbouring tiles are one.

Two tiles overlap, and both see what lies there. What both see of one object should agree, whether
it is whole in either tile or cut by its edge. So two boxes are compared by their parts in the
overlap. Objects of one tile are never joined: the model has told them apart.

Libraries (supervision's InferenceSlicer, sahi, mmdet's merge_results_by_nms) suppress or join over
all boxes of the image, whichever tile they are from. By IoU that keeps both halves of what is cut;
by the share of the smaller box it takes an object inside another one for a part of it. Both cost
average precision among crowded objects; docs/howto/predict_large_images.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from casvit_mm.deploy.masks import CroppedMasks, crop_of, join_crops
from casvit_mm.deploy.results import Detections
from casvit_mm.deploy.tiles import Place

__all__ = ['join_objects', 'move_objects']

_IOU_THR = 0.5  # of the parts that both tiles see
_SHARE_THR = 0.7  # of the smaller part, if an edge cuts it
_EDGE = 2.0  # pixels from the edge of a tile within which a box counts as cut


def move_objects(found: Detections, place: Place, size: tuple[int, int]) -> Detections:
    """Return the objects of a tile in pixels of the image.

    Args:
        found: In pixels of the tile.
        place: The tile.
        size: Height and width of the image.
    """
    boxes = found.boxes + np.array([place.left, place.top] * 2, np.float32)
    masks = None
    if found.masks is not None:
        crops = (crop_of(found.masks, i) for i in range(len(found.masks)))
        moved = [c._replace(top=c.top + place.top, left=c.left + place.left) for c in crops]
        masks = CroppedMasks(moved, size)
    return Detections(boxes, found.scores, found.labels, found.names, masks, size=size)


def join_objects(
    found: Sequence[Detections], places: Sequence[Place], size: tuple[int, int]
) -> Detections:
    """Return the objects of all tiles, each once, the highest score first.

    Two boxes of one class from two tiles are one object where the intersection of their parts in
    the overlap of the tiles is at least half of the union; where the smaller part is of a box that
    an edge cuts, at least 0.7 of that part, since a round object narrows towards the edge and its
    box does not. Further tiles join in where one of theirs agrees with any of these, one box of
    each tile at most. The object has the highest score.
    Its box and mask are those of the best-scored box that no edge cuts; where all are cut, the box
    around all and the union of the masks.

    Args:
        found: Objects of each tile, in pixels of the image.
        places: The tiles.
        size: Height and width of the image.
    """
    boxes = np.concatenate([one.boxes for one in found])  # (N, 4)
    scores = np.concatenate([one.scores for one in found])  # (N,)
    labels = np.concatenate([one.labels for one in found])
    names = [name for one in found for name in one.names]
    tiles = np.repeat(np.arange(len(found)), [len(one.scores) for one in found])
    cut = _is_cut(boxes, np.array(places)[tiles].reshape(-1, 4), size)
    partners = _partners(boxes, labels, tiles, cut, places)
    groups = list(_groups(scores, tiles, partners))
    # Of each group the whole ones if there are any, the best of them first.
    chosen = [_without_cut(group, cut) for group in groups]
    joined = [
        [*boxes[group, :2].min(0), *boxes[group, 2:].max(0)] if cut[group[0]] else boxes[group[0]]
        for group in chosen
    ]
    first = [group[0] for group in groups]
    masks = None
    if found[0].masks is not None:
        crops = [crop for one in found for crop in one.masks.crops]  # type: ignore[union-attr]
        parts = (group if cut[group[0]] else group[:1] for group in chosen)
        masks = CroppedMasks([join_crops([crops[i] for i in part]) for part in parts], size)
    return Detections(
        np.array(joined, np.float32).reshape(-1, 4),
        scores[first],
        labels[first],
        tuple(names[i] for i in first),
        masks,
        size=size,
    )


def _without_cut(group: list[int], cut: np.ndarray) -> list[int]:
    return [i for i in group if not cut[i]] or group


def _is_cut(boxes: np.ndarray, places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which boxes reach an edge of their tile that is no edge of the image, ``(N,)``.

    Args:
        boxes: ``(N, 4)`` in pixels of the image.
        places: The tile of each, ``(N, 4)``: top, left, height and width.
        size: Height and width of the image.
    """
    top, left, height, width = places.T
    return (
        ((boxes[:, 0] < left + _EDGE) & (left > 0))
        | ((boxes[:, 1] < top + _EDGE) & (top > 0))
        | ((boxes[:, 2] > left + width - _EDGE) & (left + width < size[1]))
        | ((boxes[:, 3] > top + height - _EDGE) & (top + height < size[0]))
    )


def _partners(
    boxes: np.ndarray,
    labels: np.ndarray,
    tiles: np.ndarray,
    cut: np.ndarray,
    places: Sequence[Place],
) -> dict[int, list[int]]:
    """Return, by the number of a box, those of other tiles that are the same object."""
    partners: dict[int, list[int]] = {}
    rows = np.searchsorted(tiles, np.arange(len(places) + 1))  # where the boxes of a tile begin
    for one, other, shared in _overlaps(places):
        first, second = (np.arange(rows[tile], rows[tile + 1]) for tile in (one, other))
        a, b = (
            boxes[numbers].clip(shared[[0, 1, 0, 1]], shared[[2, 3, 2, 3]])
            for numbers in (first, second)
        )
        agree = _agree(a, b, cut[first], cut[second])
        agree &= labels[first][:, None] == labels[second]
        for i, j in zip(*np.nonzero(agree), strict=True):
            partners.setdefault(int(first[i]), []).append(int(second[j]))
            partners.setdefault(int(second[j]), []).append(int(first[i]))
    return partners


def _overlaps(places: Sequence[Place]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield pairs of tiles that overlap, and what they share: left, top, right and bottom."""
    top, left, height, width = np.array(places).T
    corners = np.stack([left, top, left + width, top + height], 1)
    for one in range(len(places)):
        rest = corners[one + 1 :]
        low = np.maximum(corners[one, :2], rest[:, :2])
        high = np.minimum(corners[one, 2:], rest[:, 2:])
        for step in np.flatnonzero((low < high).all(1)):
            yield one, one + 1 + int(step), np.concatenate([low[step], high[step]])


def _agree(a: np.ndarray, b: np.ndarray, a_cut: np.ndarray, b_cut: np.ndarray) -> np.ndarray:
    """Return which parts of boxes, ``(N, 4)`` and ``(M, 4)``, are of one object, ``(N, M)``."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    a_area, b_area = ((boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b))
    union = a_area[:, None] + b_area - shared
    smaller = np.minimum(a_area[:, None], b_area)
    smaller_cut = np.where(a_area[:, None] <= b_area, a_cut[:, None], b_cut)
    part = smaller_cut & (shared >= _SHARE_THR * smaller)
    return (shared > 0) & (part | (shared >= _IOU_THR * union))


def _groups(
    scores: np.ndarray, tiles: np.ndarray, partners: dict[int, list[int]]
) -> Iterator[list[int]]:
    """Yield the boxes of each object, the highest score first in each group and among groups."""
    taken = np.zeros(len(scores), bool)
    for number in np.argsort(-scores, kind='stable').tolist():
        if taken[number]:
            continue
        taken[number] = True
        group, seen = [number], {tiles[number]}
        for member in group:  # which grows
            for other in sorted(partners.get(member, ()), key=lambda i: -scores[i]):
                if not taken[other] and tiles[other] not in seen:
                    taken[other] = True
                    seen.add(tiles[other])
                    group.append(other)
        yield sorted(group, key=lambda i: -scores[i])
