"""The outlines of a 2D mask as closed polygons, one for each connected piece, its holes joined by keyholes."""

from __future__ import annotations

import math

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray

from unetr.core.space.volume import Array

Points = NDArray[np.float64]
_Point = tuple[float, float]

# The level of the contour between outside (0) and inside (1). A thousandth above halfway: a reader that rounds points
# to whole pixels (OpenCV's way of filling) then gets the outermost pixels inside; at one half, rounding is a matter of
# luck. Whoever asks for pixel centres inside the polygon gets the same pixels. It also keeps pieces that touch at a
# corner apart.
_LEVEL = 0.501
# How far, in pixels, a keyhole's channel is from the row of pixel centres, so that no centre is on it; near enough that
# its ends round to the row.
_OFF_CENTRE = 0.25


def mask_contours(mask: Array) -> list[Points]:
    """The pieces of mask [rows, columns], bool, as polygons [N, 2]: column, row; pixel centres are whole numbers.

    Pixels that touch at a corner only are different pieces; background pixels that do are one hole. The
    last point is not the first again. Points in the middle of straight lines are left out.
    """
    padded = np.pad(mask, 1).astype(np.float64)
    lines = contour_generator(z=padded, line_type=LineType.Separate).lines(_LEVEL)
    # Loops do not end where they began, and the padding is taken back.
    loops = [np.asarray(line)[:-1] - 1.0 for line in lines]
    areas = [_area(loop) for loop in loops]
    # contourpy keeps the higher values on one side: outlines and holes run in opposite directions. The leftmost loop
    # is an outline.
    if not loops:
        return []
    leftmost = min(range(len(loops)), key=lambda index: float(loops[index][:, 0].min()))
    is_outline = [area * areas[leftmost] > 0 for area in areas]
    return [_without_straight(np.array(points)) for points in _join_holes(mask, loops, is_outline)]


def _area(loop: Points) -> float:
    x, y = loop.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _join_holes(mask: Array, loops: list[Points], is_outline: list[bool]) -> list[list[_Point]]:
    """The outlines with their holes. From a hole's leftmost point a channel runs left along the row, through the mask,
    to the next loop: an outline, or a hole that reaches further left and is joined later."""
    holes = [index for index, outline in enumerate(is_outline) if not outline]
    gate = {index: _leftmost_crossing(loops[index]) for index in holes}
    inserted: list[dict[tuple[int, int], list[_Point]]] = [{} for _ in loops]
    at = {crossing: index for index, loop in enumerate(loops) for crossing in _crossings(loop)} if holes else {}
    for index in sorted(holes, key=lambda each: -gate[each][0]):
        column, row = gate[index]
        run = np.flatnonzero(~mask[row, : column + 1])
        target = (int(run[-1]) if run.size else -1, row)
        inserted[at[target]][target] = _walk(loops[index], inserted[index], gate[index])
    return [_walk(loop, inserted[index], None) for index, loop in enumerate(loops) if is_outline[index]]


def _crossings(loop: Points) -> list[tuple[int, int]]:
    """Where a loop crosses rows of pixel centres: (the pixel to the left of the crossing, the row)."""
    return [crossing for crossing in map(_crossing, loop.tolist()) if crossing is not None]


def _crossing(point: list[float]) -> tuple[int, int] | None:
    column, row = point
    # Points are a half from a centre along one axis, on it along the other.
    return (math.floor(column), round(row)) if abs(row - round(row)) < 0.25 else None


def _leftmost_crossing(loop: Points) -> tuple[int, int]:
    return min(_crossings(loop))


def _walk(loop: Points, inserted: dict[tuple[int, int], list[_Point]], gate: tuple[int, int] | None) -> list[_Point]:
    """The points of a loop with what is inserted at its crossings; from its gate round to its gate, if it has one."""
    points = loop.tolist()
    before: list[_Point] = []
    after: list[_Point] = []
    passed = False
    for start, end in zip(points, [*points[1:], points[0]], strict=True):
        side = after if passed else before
        side.append((start[0], start[1]))
        # Each edge has one lower end, each crossing one edge that goes up from it: no edge has two channels.
        lower = min(start, end, key=lambda point: point[1])
        crossing = _crossing(lower) if start[1] != end[1] else None
        if crossing is None or (crossing not in inserted and crossing != gate):
            continue
        door = (lower[0], lower[1] + _OFF_CENTRE)
        if crossing == gate:
            before.append(door)
            after.append(door)
            passed = True
        else:
            side.extend([door, *inserted[crossing], door])
    return after + before


def _without_straight(points: Points) -> Points:
    """Leaves out points that are in the middle of a straight line; turning back is not straight."""
    back, forth = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turn = back[:, 0] * forth[:, 1] - back[:, 1] * forth[:, 0]
    straight = (np.abs(turn) < 1e-9) & ((back * forth).sum(axis=1) > 0)
    kept: Points = points[~straight]
    return kept
