"""How much memory a prediction takes, and the route that fits a limit. Knows sizes, not the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from unetr.core.machine.memory import SHARE_OF_FREE, free_bytes, gigabytes, peak_bytes, resident_bytes
from unetr.core.machine.system import available_cores
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.infer.sweep.scores import label_type
from unetr.infer.sweep.slabs import Route
from unetr.infer.sweep.windows import Shape, centre_padding, window_starts
from unetr.prepare.preprocess import NORMALISING_BYTES

_FLOAT = 4
_MEGABYTE = 10**6
# Rows whose probabilities are in memory at a time: as many as share a line of the cache, fewer where they are large.
_SLAB_ROWS = 16
_SLAB_BYTES = 256 * _MEGABYTE
# Fragments, pools of threads, and what reading and writing take beside the large arrays.
_MARGIN = 1.1
_SMALL_THINGS = 64 * _MEGABYTE


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be computed, in sizes.

    grid: voxels of the network's grid. scan: voxels of the scan's. result_bytes: per voxel of the scan, all that is
    restored and written. other_bytes: what else comes beyond what the process already has: the network at work, and the
    next scan of a folder, which is read meanwhile.
    """

    grid: Shape
    scan: Shape
    result_bytes: int
    other_bytes: int


def result_bytes(plan: Plan, *, probabilities: bool, uncertainty: bool) -> int:
    """Per voxel of the scan. Labels are one byte, or two where values need them; all is there twice when verified."""
    labels = np.dtype(label_type(plan)).itemsize
    return 2 * (labels + _FLOAT * (plan.outputs * probabilities + uncertainty))


def next_scan_bytes(grid: Shape, scan: Shape, channels: int) -> int:
    """About what reading and preparing another scan of this size takes."""
    return channels * _FLOAT * (math.prod(scan) + 2 * math.prod(grid)) + NORMALISING_BYTES * math.prod(grid)


@dataclass(frozen=True, slots=True)
class ChosenRoute:
    """A route and the peak memory of the process that is expected, in bytes, what it has already taken included."""

    route: Route
    peak_bytes: int


def choose_route(demand: Demand, plan: Plan, limit_bytes: int | None) -> ChosenRoute:
    """The route with the fewest windows whose peak is within the limit, and of these the one with the least memory.

    Without a limit, within most of the memory that is free. Raises InputError where a limit cannot be met.
    """
    fixed = _fixed_bytes(demand)
    allowed = limit_bytes if limit_bytes is not None else resident_bytes() + int(SHARE_OF_FREE * free_bytes())
    best: tuple[tuple[int, int], Route] | None = None
    least = math.inf
    for route, windows, bytes_ in _routes(demand.grid, plan):
        peak = fixed + int(_MARGIN * bytes_)
        least = min(least, peak)
        if peak <= allowed and (best is None or (windows, bytes_) < best[0]):
            best = ((windows, bytes_), route)
    if best is None and limit_bytes is not None:
        raise InputError(
            f"this scan needs at least {gigabytes(int(least))} of memory, more than the limit of "
            f"{gigabytes(limit_bytes)}; allow more, or use a coarser spacing or smaller window in the plan",
            hint="memory_limit",
        )
    if best is None and least - resident_bytes() > free_bytes():
        raise InputError(
            f"the scan: needs at least {gigabytes(int(least))} of memory, more than the machine has free; close other "
            "programs, use a larger machine, or a coarser spacing or smaller window in the plan"
        )
    if best is None:
        # It takes more than the share that is left to others, and still fits.
        _, (route, _, bytes_) = min(enumerate(_routes(demand.grid, plan)), key=lambda item: (item[1][2], item[0]))
        return ChosenRoute(route, max(peak_bytes(), fixed + int(_MARGIN * bytes_)))
    return ChosenRoute(best[1], max(peak_bytes(), fixed + int(_MARGIN * best[0][1])))


def parse_memory(text: str) -> int:
    """Bytes of e.g. "4GB", "800MB", "2.5 GB". Raises InputError."""
    number, unit = text.strip().upper()[:-2].strip(), text.strip().upper()[-2:]
    units = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"memory limit {text!r}: is not understood; expected a size such as 4GB or 800MB")
    return int(value)


def _fixed_bytes(demand: Demand) -> int:
    """What every route takes: all that is there already, what comes with it, and the results."""
    voxels = math.prod(demand.scan)
    return resident_bytes() + demand.other_bytes + demand.result_bytes * voxels + _SMALL_THINGS


def _routes(grid: Shape, plan: Plan) -> Iterator[tuple[Route, int, int]]:
    """Routes, the windows each runs, and the bytes its scores take."""
    for axes in permutations(range(3)):
        row, column, depth = axes
        for count in range(1, -(-2 * grid[column] // plan.window[column]) + 2):
            if count > grid[column]:
                break
            edges = [round(index * grid[column] / count) for index in range(count + 1)]
            pieces = tuple(pairwise(edges))
            widest = max(high - low for low, high in pieces) + (count > 1)
            row_bytes = _FLOAT * plan.outputs * widest * grid[depth]
            rows = max(1, min(_SLAB_ROWS, _SLAB_BYTES // row_bytes))
            cells = (plan.window[row] * (plan.outputs + 1) + (rows + 1) * (plan.outputs + 3)) * widest * grid[depth]
            threads = available_cores() * 2 * _FLOAT * plan.outputs * grid[column] * 64
            route = Route((row, column, depth), pieces, rows)
            yield route, windows_of(route, grid, plan), _FLOAT * cells + threads


def windows_of(route: Route, grid: Shape, plan: Plan) -> int:
    """How many windows a route runs; those on a cut between two pieces are run for both."""
    padded = [n + sum(pad) for n, pad in zip(grid, centre_padding(grid, plan.window), strict=True)]
    starts = [window_starts(n, w, plan.inference.overlap) for n, w in zip(padded, plan.window, strict=True)]
    row, column, depth = route.axes
    before, width = (padded[column] - grid[column]) // 2, plan.window[column]
    touched = 0
    for low, high in route.pieces:
        high = min(high + 1, grid[column])
        touched += sum(s < high + before and s + width > low + before for s in starts[column])
    return touched * len(starts[row]) * len(starts[depth])
