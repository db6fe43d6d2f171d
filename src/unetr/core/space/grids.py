"""When two affines describe one grid, and the turns that bring one grid to another without touching a value.

Two causes make the affines of one grid differ. Headers round to float32, which moves every number a little. And NIfTI's
qform, from which ITK takes the grid of a scan, stores a rotation as a quaternion whose real part is left out: near half
turns (LPS scans) that rounds by far more, but only the angle about one axis, with the first voxel as the pivot. So the
second cause is forgiven by itself: the rotations must be one quaternion up to its real part, and with the rotation
taken from the one affine, everything else must agree as closely as float32 says.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unetr.core.space.volume import GRID_TOLERANCE_MM, Affine, affine_spacing_mm, grid_distance_mm

# Largest |cosine| between two voxel axes that still counts as perpendicular. DICOM's direction
# cosines are decimal text of at least 4 digits.
MOST_SHEAR = 1e-3
# How far the square of a quaternion's real part may be off. It is stored as a² = 1 - b² - c² - d² with b, c, d in
# float32, whose rounding makes the sum wrong by up to 1.04e-7, and readers take small sums for 0: below 1e-7 in ITK
# (nifti1_io.c), below 3 epsilons, 3.6e-7, in nibabel. Where a is 0 that is a turn of up to 1.4e-3 rad.
_REAL_SQUARED = 5e-7
# How far b, c and d may be off: float32 in themselves and in the matrix that they were computed from.
_VECTOR = 1e-6

# How far, relatively, a length from a header may be off: float32 in each of the numbers that it comes from.
HEADER_NOISE = 1e-6


def nearest_whole(size: float) -> int:
    """A size in voxels as a whole number. A half, and what headers may make of one, goes up.

    So 35 slices are 88 of 1 mm whether the header says 2.5 mm or 2.4999999.
    """
    return math.floor(size + 0.5 + HEADER_NOISE * size)


def significant(value: float, digits: int) -> float:
    """Rounded to so many digits; a half, and what headers may make of one, goes away from 0."""
    return float(f"{value * (1 + 3e-7):.{digits}g}")


def grid_tolerance_mm(affine: Affine, shape: tuple[int, int, int]) -> float:
    """How far, in mm, two affines of one grid may be apart by rounding to float32.

    1e-3, or for fields of view above 100 mm 1e-5 of it: a relative error of 6e-8 in each of the numbers, direction
    cosines included.
    """
    return max(GRID_TOLERANCE_MM, 1e-5 * float(np.linalg.norm(np.array(affine_spacing_mm(affine)) * shape)))


def same_grid(first: Affine, second: Affine, shape: tuple[int, int, int]) -> bool:
    """Whether two affines put the voxels of a grid of `shape` at the same places, up to what headers round."""
    allowed = grid_tolerance_mm(first, shape)
    if grid_distance_mm(first, second, shape) <= allowed:
        return True
    if not _same_quaternion(first, second):
        return False
    turned = second.copy()
    turned[:3, :3] = first[:3, :3] / affine_spacing_mm(first) * affine_spacing_mm(second)
    return grid_distance_mm(first, turned, shape) <= allowed


def shear_of(affine: Affine) -> float:
    """The largest |cosine| between two voxel axes: 0 where all are perpendicular."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    angles = cosines.T @ cosines
    return float(max(abs(angles[0, 1]), abs(angles[0, 2]), abs(angles[1, 2])))


def lossless_turn(
    source: Affine, target: Affine, shape: tuple[int, int, int]
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]] | None:
    """Which voxel axis of `source` (a grid of `shape`) runs along each axis of `target`, and whether backwards.

    None where the axes are not the same ones but for order and direction, or the voxels end up at other places.
    """
    steps = np.linalg.solve(target[:3, :3], source[:3, :3])
    first, second, third = (int(axis) for axis in np.abs(steps).argmax(axis=1))
    if {first, second, third} != {0, 1, 2}:
        return None
    axes = first, second, third
    backwards = [bool(steps[i, axis] < 0) for i, axis in enumerate(axes)]
    flips = backwards[0], backwards[1], backwards[2]
    turn = turn_matrix(shape, axes, flips)
    turned_shape = shape[first], shape[second], shape[third]
    # A quaternion is rounded in the orientation in which it was stored, so both are tried.
    if same_grid(target, source @ turn, turned_shape) or same_grid(source, target @ np.linalg.inv(turn), shape):
        return axes, flips
    return None


def turn_matrix(
    shape: tuple[int, int, int], axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> NDArray[np.float64]:
    """Turned voxel index -> source voxel index, for a source of `shape`: turned axis i is source axis axes[i]."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for i, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        matrix[axis, i] = -1 if flip else 1
        matrix[axis, 3] = shape[axis] - 1 if flip else 0
    return matrix


def _same_quaternion(first: Affine, second: Affine) -> bool:
    """Whether the rotations could be one quaternion, stored with its real part left out."""
    if max(shear_of(first), shear_of(second)) > MOST_SHEAR:
        return False
    (a, left), (b, right) = _quaternion(first), _quaternion(second)
    if left != right:
        return False
    if float(a @ b) < 0:
        b = -b
    # With the sign, so that two turns to either side of a half turn are two turns.
    real = abs(a[0] * abs(a[0]) - b[0] * abs(b[0]))
    return bool(real <= _REAL_SQUARED and np.abs(a[1:] - b[1:]).max() <= _VECTOR)


def _quaternion(affine: Affine) -> tuple[NDArray[np.float64], bool]:
    """The unit quaternion (real part first) of the nearest rotation, and whether the third axis was reversed for it.

    As NIfTI's qform is made: the axes' directions made perpendicular by polar decomposition, left-handed ones turned
    right-handed by the third (qfac). The quaternion is the largest eigenvector of Bar-Itzhack's matrix (2000).
    """
    u, _, v = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    r = u @ v
    reversed_third = bool(np.linalg.det(r) < 0)
    if reversed_third:
        r[:, 2] *= -1
    b, c, d = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    symmetric = r + r.T - np.trace(r) * np.eye(3)
    matrix = np.block([[np.array([[np.trace(r)]]), np.array([[b, c, d]])], [np.array([[b], [c], [d]]), symmetric]])
    return np.linalg.eigh(matrix)[1][:, -1], reversed_third
