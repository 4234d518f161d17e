"""Masks as polygons along the edges of their pixels, and several polygons as one outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ['join_outlines', 'trace_mask']

Outline = list[float]


def trace_mask(mask: np.ndarray) -> list[Outline]:
    """Return the outlines of a mask, which run along the edges of pixels and lose nothing.

    Pixels that touch at a corner alone belong to different outlines.

    Args:
        mask: bool ``(H, W)``.

    Returns:
        ``[x1, y1, x2, y2, ...]`` with the corners alone, clockwise as seen on the screen; those of
        holes are counterclockwise.
    """
    follow = _edges(np.pad(mask.astype(bool), 1))
    outlines = []
    while follow:
        start = next(iter(follow))
        points = [start]
        step = (0, 0)
        while True:
            ends = follow[points[-1]]
            end = ends.pop(_right_turn(points[-1], step, ends))
            if not ends:
                del follow[points[-1]]
            step = (end[0] - points[-1][0], end[1] - points[-1][1])
            if end == start:
                break
            points.append(end)
        outlines.append(_corners(points))
    return outlines


def _edges(padded: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return where the edges between pixels in and out lead to, the inside on their right hand."""
    inside = padded[1:-1, 1:-1]
    sides = (  # where the neighbour is, and the edge from the upper left corner of the pixel
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, (ax, ay), (bx, by) in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
            follow.setdefault((x + ax, y + ay), []).append((x + bx, y + by))
    return follow


def _right_turn(
    point: tuple[int, int], step: tuple[int, int], ends: Sequence[tuple[int, int]]
) -> int:
    """Return which edge to follow: at a corner of two pixels the one that stays at its pixel."""
    turned = (point[0] - step[1], point[1] + step[0])
    return ends.index(turned) if turned in ends else 0


def _corners(points: list[tuple[int, int]]) -> Outline:
    """Return the points at which a loop turns."""
    array = np.array(points)
    before, after = array - np.roll(array, 1, 0), np.roll(array, -1, 0) - array
    return [float(value) for value in array[(before != after).any(1)].ravel()]


def join_outlines(outlines: Sequence[Outline], holes: bool = False) -> Outline:
    """Return one outline for several, joined by lines to and fro that have no width.

    Args:
        outlines: ``[x1, y1, ...]`` of each.
        holes: Whether their directions tell holes, as :func:`trace_mask` gives them; otherwise all
            are turned into one direction.
    """
    loops: list[np.ndarray] = [
        np.asarray(outline, dtype=np.float64).reshape(-1, 2) for outline in outlines
    ]
    if not holes:
        loops = [loop if _signed_area(loop) >= 0 else loop[::-1] for loop in loops]
    joined: np.ndarray = loops[0]
    for loop in loops[1:]:
        i, j = _nearest(joined, loop)
        joined = np.concatenate([joined[: i + 1], loop[j:], loop[: j + 1], joined[i:]])
    return [float(value) for value in joined.ravel()]


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Return which points of two loops are nearest to each other."""
    squares = ((one[:, None] - other[None]) ** 2).sum(-1)
    i, j = np.unravel_index(int(squares.argmin()), squares.shape)
    return int(i), int(j)


def _signed_area(loop: np.ndarray) -> float:
    x, y = loop.T - loop[0][:, None]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
