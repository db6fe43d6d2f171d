"""The regular grid that the slices of a series must form, as exactly as their positions are printed.

Slices are ordered by position along the normal. SliceThickness, SliceLocation, InstanceNumber and names are not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unetr.core.space.grids import MOST_SHEAR
from unetr.core.space.volume import Affine, Array
from unetr.errors import InputError
from unetr.io.dicom.series.slice import Slice

# How far slices may be from equal steps, relative to the step, beyond the rounding of their printed positions.
_UNEVEN = 0.01
# However coarsely positions are printed, a slice that is this share of a step away from its place is not rounded.
_MOST_ROUNDING = 0.25
# The grid found by least squares is itself off by a share of the rounding.
_FIT = 1.15


def heights_mm(slices: Sequence[Slice]) -> Array:
    """Where each slice is along the first one's normal, in mm."""
    axes = slices[0].axes
    heights: Array = np.stack([each.position for each in slices]) @ np.cross(axes[0], axes[1])
    return heights


def regular_grid(title: str, slices: Sequence[Slice]) -> tuple[list[int], Affine]:
    """The slices' order along the normal and the affine, voxel [column, row, slice] -> RAS mm. Raises InputError."""
    if len(slices) < 2:
        raise InputError(f"{slices[0].name}: {title} has a single slice, is 2D; expected the folder of a 3D scan")
    axes = slices[0].axes
    normal = np.cross(axes[0], axes[1])
    heights = heights_mm(slices)
    order = [int(index) for index in np.argsort(heights, kind="stable")]
    ordered = [slices[i] for i in order]
    positions, heights = np.stack([each.position for each in ordered]), heights[order]
    _check_duplicates(title, ordered, heights)
    start, step = positions[0], (positions[-1] - positions[0]) / (len(slices) - 1)
    even = _is_even(positions, start, step, 0.0)
    rounded = None if even and _tilt(axes, step) <= MOST_SHEAR else _within_rounding(ordered, positions, normal)
    if rounded is not None:
        start, step = rounded
    _check_tilt(title, ordered[0].name, _tilt(axes, step))
    if not even and rounded is None:
        raise _uneven(title, ordered, heights, np.linalg.norm(_off(positions, start, step), axis=1), step)
    affine = np.eye(4)
    between_rows, between_columns = slices[0].spacing_mm
    affine[:3, :3] = np.stack([axes[0] * between_columns, axes[1] * between_rows, step], axis=1)
    affine[:3, 3] = start
    return order, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _within_rounding(slices: Sequence[Slice], positions: Array, normal: Array) -> tuple[Array, Array] | None:
    """The even steps along the normal that positions were rounded from, by least squares; None where there are none.

    Every position must lie within its own rounding of the grid, so that a missing or moved slice is none.
    """
    index = np.arange(len(slices)) - (len(slices) - 1) / 2
    slope = float(index @ (positions @ normal) / (index @ index))
    if slope <= 0:
        return None
    rounding = np.minimum(np.min([each.rounding_mm for each in slices], axis=0), _MOST_ROUNDING * slope)
    step = normal * slope
    along = positions - np.outer(np.arange(len(slices)), step)
    start = (along.min(axis=0) + along.max(axis=0)) / 2
    return (start, step) if _is_even(positions, start, step, _FIT * rounding) else None


def _off(positions: Array, start: Array, step: Array) -> Array:
    off: Array = positions - start - np.outer(np.arange(len(positions)), step)
    return off


def _is_even(positions: Array, start: Array, step: Array, rounding: Array | float) -> bool:
    beyond = np.maximum(np.abs(_off(positions, start, step)) - rounding, 0)
    return bool(np.linalg.norm(beyond, axis=1).max() <= _UNEVEN * np.linalg.norm(step))


def _tilt(axes: Array, step: Array) -> float:
    return float(np.abs(axes @ step).max() / np.linalg.norm(step))


def _check_tilt(title: str, name: str, tilt: float) -> None:
    if tilt > MOST_SHEAR:
        raise InputError(
            f"{name}: {title} has a gantry tilt: its slices are stacked {np.degrees(np.arcsin(min(tilt, 1))):.2f} "
            "degrees away from their normal; expected perpendicular slices; resample it to a regular grid"
        )


def _check_duplicates(title: str, slices: Sequence[Slice], heights: Array) -> None:
    steps = np.diff(heights)
    apart = steps[steps > 1e-3]
    usual = float(np.median(apart)) if apart.size else 1.0
    same = np.flatnonzero(steps <= max(1e-3, _UNEVEN * usual))
    if same.size:
        first = int(same[0])
        raise InputError(
            f"{slices[first + 1].name}: is at the same position as {slices[first].name}, {heights[first]:.2f} mm along "
            f"the normal ({same.size} such in {title}); expected one slice per position: duplicate slices, or several "
            "time points, echoes or b-values, which must be separate series"
        )


def _uneven(title: str, slices: Sequence[Slice], heights: Array, off_mm: Array, step: Array) -> InputError:
    """What is missing, or where the steps are uneven. off_mm: how far each slice is from equal steps."""
    steps = np.diff(heights)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    at = int(np.argmax(steps))
    if steps[at] > 1.5 * usual:
        missing = max(round(float(steps[at]) / usual) - 1, 1)
        return InputError(
            f"{slices[at].name}: after it about {missing} slice{'s are' if missing > 1 else ' is'} missing, between "
            f"{heights[at]:.2f} and {heights[at + 1]:.2f} mm along the normal of {title}; "
            f"expected steps of {usual:.4g} mm"
        )
    worst = int(np.argmax(off_mm))
    return InputError(
        f"{slices[worst].name}: is {off_mm[worst]:.3g} mm away from equal steps of "
        f"{np.linalg.norm(step):.4g} mm ({heights[worst]:.2f} mm along the normal); expected at most {_UNEVEN:.0%} "
        "of the step, and the rounding of its printed position: variable spacing"
    )
