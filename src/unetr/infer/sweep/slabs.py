"""The sweep: windows go over a grid slab by slab; what no later window touches is handed on and forgotten.

So the scores in memory are those of one slab, not of the scan. Where even a slab is too much, its cross-section is cut
into pieces that are swept one after the other. A piece runs every window that touches it, in the order of the whole, so
that it gets the same numbers; windows on a cut are run for both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from unetr.core.machine.parallel import in_threads, ranges
from unetr.core.machine.system import available_cores
from unetr.core.plan.schema import Plan
from unetr.infer.sweep.blending import blending_weights
from unetr.infer.sweep.finite import check_finite
from unetr.infer.sweep.windows import Engine, Float, Shape, centre_padding, window_starts


@dataclass(frozen=True, slots=True)
class Route:
    """How a grid is swept.

    axes: the grid's axes as rows (slabs follow each other along them), columns (which pieces divide) and depth.
    pieces: first and one past the last column of each piece; together they are all columns, in order.
    slab_rows: rows that are handed on at a time, at most.
    """

    axes: tuple[int, int, int]
    pieces: tuple[tuple[int, int], ...]
    slab_rows: int

    @classmethod
    def whole(cls, shape: Shape) -> Route:
        """One piece, rows along the first axis."""
        return cls((0, 1, 2), ((0, shape[1]),), shape[0])


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece's part of the padded grid, per axis of the grid.

    starts: of the windows. low, high: of the voxels that are asked for.
    """

    starts: tuple[tuple[int, ...], ...]
    low: Shape
    high: Shape


def sweep(image: Float, engine: Engine, plan: Plan, route: Route, columns: tuple[int, int]) -> Iterator[Float]:
    """Logits of the columns first..one past last of an image [C, X, Y, Z], a few rows at a time, in order.

    Yields [J, rows, columns, depth], axes as the route has them: the weighted mean over all windows that cover a voxel,
    by the plan's window, overlap and blending. A view that is valid until the next is asked for; it may be written to.
    An image smaller than the window is padded with zeros around its centre, as in training. Raises InputError for
    logits that are not finite.
    """
    window = plan.window
    x, y, z = image.shape[1:]
    padding = centre_padding((x, y, z), window)
    if any(before or after for before, after in padding):
        image = np.pad(image, [(0, 0), *padding])
    piece = _piece(image.shape[1:], (x, y, z), plan, route, columns)
    row, *_ = route.axes
    size = [high - low for low, high in zip(piece.low, piece.high, strict=True)]
    size[row] = window[row]
    sums = np.zeros((plan.outputs, *size), dtype=np.float32)
    total = np.zeros(size, dtype=np.float32)
    weights = blending_weights(window, plan.inference.blending)
    starts = piece.starts[row]
    for index, first in enumerate(starts):
        own = [*piece.starts]
        own[row] = (first,)
        for start in product(*own):
            where = tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))
            logits = engine(image[:, *where][None].astype(np.float32, copy=False))[0]
            check_finite(logits, "the network")
            origin = [*piece.low]
            origin[row] = first
            inside, target = _common_voxels(start, window, origin, size)
            _accumulate(sums, logits, weights, inside, target)
            total[target] += weights[inside]
        finished = (starts[index + 1] if index + 1 < len(starts) else first + window[row]) - first
        yield from _finished_rows(sums, total, piece, route, (first, finished))
        _shift(sums, row, finished)
        _shift(total[None], row, finished)


def _piece(padded: tuple[int, ...], shape: Shape, plan: Plan, route: Route, columns: tuple[int, int]) -> _Piece:
    window, overlap = plan.window, plan.inference.overlap
    low = [(p - n) // 2 for p, n in zip(padded, shape, strict=True)]
    high = [first + n for first, n in zip(low, shape, strict=True)]
    column = route.axes[1]
    low[column], high[column] = low[column] + columns[0], low[column] + columns[1]
    starts = []
    for axis in range(3):
        every = window_starts(padded[axis], window[axis], overlap)
        starts.append(tuple(s for s in every if s < high[axis] and s + window[axis] > low[axis]))
    return _Piece(tuple(starts), (low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _common_voxels(
    start: tuple[int, ...], window: Shape, origin: list[int], size: list[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a window and the sums have voxels in common: in the window, and in the sums."""
    inside, target = [], []
    for s, w, o, n in zip(start, window, origin, size, strict=True):
        low, high = max(s, o), min(s + w, o + n)
        inside.append(slice(low - s, high - s))
        target.append(slice(low - o, high - o))
    return tuple(inside), tuple(target)


def _accumulate(
    sums: Float, logits: Float, weights: Float, inside: tuple[slice, ...], target: tuple[slice, ...]
) -> None:
    weight = weights[inside]

    def some(classes: slice) -> None:
        product_ = np.empty(weight.shape, dtype=np.float32)
        for index in range(classes.start, classes.stop):
            np.multiply(logits[index][inside], weight, out=product_)
            sums[index][target] += product_

    in_threads(some, ranges(len(sums), -(-len(sums) // available_cores())))


def _finished_rows(sums: Float, total: Float, piece: _Piece, route: Route, rows: tuple[int, int]) -> Iterator[Float]:
    """The first rows of the sums, divided by the weights, without the rows of the padding."""
    row = route.axes[0]
    first, count = rows
    low, high = max(piece.low[row] - first, 0), min(piece.high[row] - first, count)
    by_route = (0, *(1 + axis for axis in route.axes))
    for some in ranges(high - low, route.slab_rows) if high > low else []:
        where = [slice(None)] * 3
        where[row] = slice(low + some.start, low + some.stop)
        part, weight = sums[:, *where], total[tuple(where)]

        def divide(index: int, part: Float = part, weight: Float = weight) -> None:
            part[index] /= weight

        in_threads(divide, range(len(part)))
        yield part.transpose(by_route)


def _shift(sums: Float, row: int, count: int) -> None:
    """Rows move up by `count`; the last ones become zero."""
    keep = sums.shape[1 + row] - count

    def one(index: int) -> None:
        rows = np.moveaxis(sums[index], row, 0)
        rows[:keep] = rows[count:]
        rows[keep:] = 0

    in_threads(one, range(len(sums)))
