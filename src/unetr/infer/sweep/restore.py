"""From the scores of a sweep to labels on the scan's own grid, a few rows at a time.

Probabilities are interpolated linearly and then decided, as if the whole volume were in memory. Where all eight corners
of a cell of the network's grid are decided alike, every voxel between them is decided so too: if p_k >= p_j at all
corners, so for any weighted mean of them (and the same for p > 0.5). Only the other voxels, those along surfaces, are
interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.parallel import in_threads, ranges
from unetr.core.plan.schema import Plan
from unetr.core.space.geometry import Placement, axis_kernel, placed_view
from unetr.infer.sweep.scores import (
    Decisions,
    Float,
    count_voxels,
    decide,
    label_type,
    label_values,
    outside_scores,
    probabilities,
)
from unetr.infer.sweep.slabs import Route
from unetr.infer.sweep.uncertainty import ConfidenceSum, entropy

# Above this share of undecided voxels in a plane it is quicker to interpolate all of it.
_DENSE = 0.5
# Columns turned to probabilities at a time, and voxels interpolated at a time: what stays in a core's cache.
_COLUMNS = 4
_VOXELS = 16384


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """The result, on the scan's own grid and in its order of axes.

    labels [X, Y, Z]; probabilities float32 [J, X, Y, Z] and uncertainty float32 [X, Y, Z] where asked for.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    probabilities: Float | None = None
    uncertainty: Float | None = None

    @classmethod
    def blank(cls, placement: Placement, plan: Plan, *, with_probabilities: bool, with_uncertainty: bool) -> Restored:
        """What is true outside of the crop: background for sure, in no region."""
        shape = placement.source_shape
        # The first axis runs fastest, as in the files.
        scores = None
        if with_probabilities:
            scores = np.empty((*shape[::-1], plan.outputs), dtype=np.float32).T
            scores[:] = np.array(outside_scores(plan), dtype=np.float32).reshape(-1, 1, 1, 1)
        labels = np.zeros(shape, dtype=label_type(plan), order="F")
        return cls(labels, scores, np.zeros(shape, dtype=np.float32, order="F") if with_uncertainty else None)


@dataclass(frozen=True, slots=True)
class PieceFigures:
    """Figures of one piece. voxels [J]: of each class or region, within the crop, before any rule."""

    voxels: NDArray[np.int64]
    confidence: ConfidenceSum


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Where the scan's voxels of one axis are in the network's grid: between index and following, at `weight`."""

    index: NDArray[np.intp]
    following: NDArray[np.intp]
    weight: Float

    @classmethod
    def between(cls, n_grid: int, n_scan: int) -> _Axis:
        index, weight = axis_kernel(n_grid, n_scan, "linear")
        return cls(index[:, 0], index[:, 1], weight[:, 1])

    def part(self, first: int, end: int) -> tuple[slice, _Axis]:
        """The scan's voxels whose lower neighbour is in first..end, and their places counted from `first`."""
        low, high = np.searchsorted(self.index, (first, end))
        where = slice(int(low), int(high))
        return where, _Axis(self.index[where] - first, self.following[where] - first, self.weight[where])


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Some rows of the network's grid. scores [R, J, B, C]; decisions [R, B, C]; least, most: of the 2x2 cells."""

    scores: Float
    decisions: Decisions
    least: Decisions
    most: Decisions


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """Where a plane of the scan's grid goes, and how its columns and depths lie in the network's grid."""

    columns: _Axis
    depths: _Axis
    labels: NDArray[np.unsignedinteger[Any]]
    probabilities: Float | None
    uncertainty: Float | None


def restore_piece(
    slabs: Iterable[Float], placement: Placement, plan: Plan, route: Route, piece: tuple[int, int], restored: Restored
) -> PieceFigures:
    """Restores one piece of a route from its logits; slabs [J, rows, columns, depth] as `sweep` yields them.

    The slabs hold the piece's columns and, unless it is the last piece, one more, which the columns before it need.
    """
    _row, _column, _depth = route.axes
    grid = tuple(placement.shape[axis] for axis in route.axes)
    scan = tuple(high - low for low, high in (placement.crop[axis] for axis in route.axes))
    rows = _Axis.between(grid[0], scan[0])
    where, columns = _Axis.between(grid[1], scan[1]).part(*piece)
    depths = _Axis.between(grid[2], scan[2])

    def view(array: Any) -> Any:
        return (
            None
            if array is None
            else placed_view(array, placement).transpose(
                *range(array.ndim - 3), *(array.ndim - 3 + axis for axis in route.axes)
            )[..., where, :]
        )

    labels, scores, uncertainty = view(restored.labels), view(restored.probabilities), view(restored.uncertainty)
    voxels = np.zeros(plan.outputs, dtype=np.int64)
    confidence = ConfidenceSum.start(plan)
    done = 0
    for first, part, sure in _row_parts(slabs, plan, piece[1] - piece[0]):
        confidence = confidence.plus(sure)
        last = first + len(part.scores) - 1
        end = int(np.searchsorted(rows.following, last, side="right"))

        def plane(at: int, part: _Rows = part, first: int = first) -> NDArray[np.int64]:
            target = _Plane(
                columns,
                depths,
                labels[at],
                None if scores is None else scores[:, at],
                None if uncertainty is None else uncertainty[at],
            )
            place = (int(rows.index[at]) - first, int(rows.following[at]) - first, rows.weight[at])
            return _restore_plane(part, place, target, plan)

        for counted in in_threads(plane, range(done, end)):
            voxels += counted
        done = end
    return PieceFigures(voxels, confidence)


def _row_parts(slabs: Iterable[Float], plan: Plan, owned: int) -> Iterator[tuple[int, _Rows, ConfidenceSum]]:
    """First row, rows, and the confidence of the owned columns. A part starts with the row the last one ended with.

    What is yielded is valid until the next part is asked for.
    """
    buffer: Float | None = None
    before: _Rows | None = None
    first = 0
    for logits in slabs:
        J, R, B, C = logits.shape
        if buffer is None or buffer.shape[0] < R + 1:
            fresh = np.empty((R + 1, J, B, C), dtype=np.float32)
            if before is not None:
                fresh[0] = before.scores[-1]
            buffer = fresh
        elif before is not None:
            buffer[0] = before.scores[-1]
        kept = 0 if before is None else 1
        decisions, sure = _to_probabilities(logits, buffer[kept : R + kept], plan, owned)
        if before is not None:
            decisions = np.concatenate([before.decisions[-1:], decisions])
        least, most = _cells(decisions)
        before = _Rows(buffer[: R + kept], decisions, least, most)
        yield first, before, sure
        first += R + kept - 1


def _to_probabilities(logits: Float, out: Float, plan: Plan, owned: int) -> tuple[Decisions, ConfidenceSum]:
    """logits [J, R, B, C] -> probabilities into out [R, J, B, C]; returns decisions [R, B, C], and the confidence."""
    J, _R, B, _C = logits.shape
    regions = plan.has_regions

    def some(columns: slice) -> tuple[Decisions, ConfidenceSum]:
        part = out[:, :, columns]
        # Class by class: rows of a slab are neighbours in memory, and a few columns of them stay in the cache.
        for index in range(J):
            part[:, index] = logits[index, :, columns]
        probabilities(part, regions=regions, axis=1)
        decided = decide(part, plan, axis=1)
        sure = ConfidenceSum.start(plan)
        mine = max(0, min(owned - columns.start, columns.stop - columns.start))
        if mine:
            seen = decided[:, :mine]
            sure = sure.add(np.moveaxis(part[:, :, :mine], 1, 0), None if regions else seen)
        return decided, sure

    results = in_threads(some, ranges(B, _COLUMNS))
    confidence = ConfidenceSum.start(plan)
    for _, sure in results:
        confidence = confidence.plus(sure)
    return np.concatenate([decided for decided, _ in results], axis=1), confidence


def _cells(decisions: Decisions) -> tuple[Decisions, Decisions]:
    """Least and largest decision of each row's 2x2 cells [R, B, C]; beyond the last voxel the last is repeated."""
    least, most = decisions.copy(), decisions.copy()
    for values, choose in ((least, np.minimum), (most, np.maximum)):
        choose(values[:, :, :-1], values[:, :, 1:], out=values[:, :, :-1])
        choose(values[:, :-1], values[:, 1:], out=values[:, :-1])
    return least, most


def _restore_plane(part: _Rows, place: tuple[int, int, np.float32], target: _Plane, plan: Plan) -> NDArray[np.int64]:
    low, high, weight = place
    columns, depths = target.columns, target.depths
    scores = part.scores[low]
    if weight:
        scores = (1 - weight) * scores + weight * part.scores[high]
    if target.probabilities is not None or target.uncertainty is not None:
        return _restore_densely(scores, target, plan)
    alike = np.maximum(part.most[low], part.most[high]) == np.minimum(part.least[low], part.least[high])
    mixed = ~alike.take(columns.index, axis=0).take(depths.index, axis=1)
    count = int(np.count_nonzero(mixed))
    if count > _DENSE * mixed.size:
        return _restore_densely(scores, target, plan)
    decided = part.decisions[low].take(columns.index, axis=0).take(depths.index, axis=1)
    if count:
        across, deep = np.nonzero(mixed)
        for some in ranges(count, _VOXELS):
            decided[across[some], deep[some]] = decide(_interpolated(scores, target, across[some], deep[some]), plan)
    target.labels[...] = label_values(decided, plan)
    return count_voxels(decided, plan)


def _interpolated(scores: Float, target: _Plane, across: NDArray[np.intp], deep: NDArray[np.intp]) -> Float:
    """Bilinear in the plane: scores [J, B, C] at n voxels -> [J, n]."""
    columns, depths = target.columns, target.depths
    flat = scores.reshape(len(scores), -1)
    width = scores.shape[2]
    upper, lower = columns.index[across] * width, columns.following[across] * width
    left, right = depths.index[deep], depths.following[deep]
    down, along = columns.weight[across], depths.weight[deep]
    up = 1 - down
    corners = (
        (upper + right, up * along),
        (lower + left, down * (1 - along)),
        (lower + right, down * along),
    )
    result: Float = flat.take(upper + left, axis=1)
    result *= up * (1 - along)
    for index, weight in corners:
        term = flat.take(index, axis=1)
        term *= weight
        result += term
    return result


def _restore_densely(scores: Float, target: _Plane, plan: Plan) -> NDArray[np.int64]:
    """The plane from all of its interpolated scores [J, B, C]."""
    columns, depths = target.columns, target.depths
    wide = _lerp(scores, columns, 1)
    voxels = np.zeros(plan.outputs, dtype=np.int64)
    for some in ranges(wide.shape[1], _COLUMNS * 8):
        full = _lerp(wide[:, some], depths, 2)
        decided = decide(full, plan)
        target.labels[some] = label_values(decided, plan)
        voxels += count_voxels(decided, plan)
        if target.probabilities is not None:
            target.probabilities[:, some] = full
        if target.uncertainty is not None:
            target.uncertainty[some] = entropy(full, regions=plan.has_regions)
    return voxels


def _lerp(scores: Float, places: _Axis, axis: int) -> Float:
    if len(places.index) == scores.shape[axis] and not places.weight.any():
        return scores
    shape = [1] * scores.ndim
    shape[axis] = -1
    result: Float = scores.take(places.index, axis=axis)
    result *= (1 - places.weight).reshape(shape)
    term = scores.take(places.following, axis=axis)
    term *= places.weight.reshape(shape)
    result += term
    return result
