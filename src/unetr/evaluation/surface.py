"""Distances between the surfaces of two masks: the expensive step once, then small functions of its result.

The surface, its elements and their areas are those of Nikolov et al. 2021 (arXiv 1809.04430, "surface DSC"): an element
sits at each corner point shared by 2x2x2 voxels that are not all alike, and weighs as much as the marching-cubes
surface there (surface_area.py). Beyond the edge of the array everything is outside, so an object cut off
by it has a surface there. Other programs (MONAI by default) put one point of equal weight in each boundary
voxel's centre; their largest distance is within one voxel diagonal of the one here, other values differ more.

Distances are computed in float32, exact to about one part in 10^6.
"""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
from numpy.typing import NDArray

from unetr.evaluation.surface_area import CORNERS, surface_areas

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Spacing = tuple[float, float, float]

# A distance larger than the tolerance only by float32 rounding counts as within it, and so does a share of the
# area that misses the percentile only by the rounding of its sum.
_ROUNDING = 1e-6
_SUM_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """Of each surface element: the distance to the nearest element of the other surface, and its area.

    Each pair of arrays is sorted by distance. All four are empty when either mask is empty.
    """

    prediction_to_truth_mm: Floats
    prediction_areas_mm2: Floats
    truth_to_prediction_mm: Floats
    truth_areas_mm2: Floats

    @property
    def defined(self) -> bool:
        """Whether both masks have a surface; if not, every metric here is NaN."""
        return self.prediction_to_truth_mm.size > 0 and self.truth_to_prediction_mm.size > 0


def surface_distances(prediction: Mask, truth: Mask, spacing_mm: Spacing) -> SurfaceDistances:
    """Distances in mm between the surfaces of two masks [X, Y, Z] with this voxel spacing.

    Works inside the bounding box of both masks together. Raises ValueError unless both are bool and of one shape.
    """
    if prediction.shape != truth.shape or prediction.ndim != 3:
        raise ValueError(f"masks must be [X, Y, Z] of one shape, got {prediction.shape} and {truth.shape}")
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool, got {prediction.dtype} and {truth.dtype}")
    if not prediction.any() or not truth.any():
        nothing = np.empty(0)
        return SurfaceDistances(nothing, nothing, nothing, nothing)
    box = bounding_box(prediction | truth)
    area_of = surface_areas(spacing_mm)
    prediction_codes = _neighbourhood_codes(prediction[box])
    truth_codes = _neighbourhood_codes(truth[box])
    prediction_surface = _is_surface(prediction_codes)
    truth_surface = _is_surface(truth_codes)
    to_truth, prediction_areas = _sorted_by_distance(
        _distance_to(truth_surface, spacing_mm)[prediction_surface], area_of[prediction_codes[prediction_surface]]
    )
    to_prediction, truth_areas = _sorted_by_distance(
        _distance_to(prediction_surface, spacing_mm)[truth_surface], area_of[truth_codes[truth_surface]]
    )
    return SurfaceDistances(to_truth, prediction_areas, to_prediction, truth_areas)


def hausdorff_mm(distances: SurfaceDistances, percentile: float = 95) -> float:
    """The Hausdorff distance at a percentile (100 = the classical maximum), in mm; NaN when undefined.

    The smallest distance within which `percentile` % of a surface's area lies from the other surface, for
    the worse of the two directions.
    """
    if not distances.defined:
        return float("nan")
    return max(
        _percentile(distances.prediction_to_truth_mm, distances.prediction_areas_mm2, percentile),
        _percentile(distances.truth_to_prediction_mm, distances.truth_areas_mm2, percentile),
    )


def average_symmetric_distance_mm(distances: SurfaceDistances) -> float:
    """ASSD: the area-weighted mean distance over the elements of both surfaces together, in mm; NaN when undefined.

    Heimann et al. 2009 (IEEE TMI 28:1251), with areas in place of counts.
    """
    if not distances.defined:
        return float("nan")
    weighted = np.dot(distances.prediction_to_truth_mm, distances.prediction_areas_mm2)
    weighted += np.dot(distances.truth_to_prediction_mm, distances.truth_areas_mm2)
    return float(weighted / _total_area(distances))


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """NSD: the share of both surfaces' area that lies within `tolerance_mm` of the other surface; NaN when undefined.

    Nikolov et al. 2021, equation for the surface DSC.
    """
    if not distances.defined:
        return float("nan")
    limit = tolerance_mm * (1 + _ROUNDING)
    within = distances.prediction_areas_mm2[distances.prediction_to_truth_mm <= limit].sum()
    within += distances.truth_areas_mm2[distances.truth_to_prediction_mm <= limit].sum()
    return float(within / _total_area(distances))


def bounding_box(mask: Mask) -> tuple[slice, slice, slice]:
    """The smallest box that holds every True voxel of a mask [X, Y, Z] that has one."""
    ranges = []
    for axis in range(3):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        ranges.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return ranges[0], ranges[1], ranges[2]


def _neighbourhood_codes(mask: Mask) -> NDArray[np.uint8]:
    """Of each corner point between voxels, which of its 8 voxels are inside: [X + 1, Y + 1, Z + 1]."""
    padded = np.pad(mask.astype(np.uint8), 1)
    x, y, z = (n + 1 for n in mask.shape)
    codes = np.zeros((x, y, z), dtype=np.uint8)
    for bit, (i, j, k) in enumerate(CORNERS):
        codes |= padded[i : i + x, j : j + y, k : k + z] << np.uint8(bit)
    return codes


def _is_surface(codes: NDArray[np.uint8]) -> Mask:
    surface: Mask = (codes != 0) & (codes != 255)
    return surface


def _distance_to(surface: Mask, spacing_mm: Spacing) -> NDArray[np.float32]:
    # edt measures, from each True voxel, the way to the nearest False one.
    distance: NDArray[np.float32] = edt.edt(np.ascontiguousarray(~surface), anisotropy=spacing_mm, parallel=1)
    return distance


def _sorted_by_distance(distance: NDArray[np.float32], area: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(distance, kind="stable")
    return distance[order].astype(np.float64), area[order]


def _percentile(distance: Floats, area: Floats, percentile: float) -> float:
    """The first distance, from the smallest, at which this share of the area is reached."""
    reached = np.cumsum(area)
    index = int(np.searchsorted(reached, percentile / 100 * reached[-1] * (1 - _SUM_ROUNDING)))
    return float(distance[min(index, distance.size - 1)])


def _total_area(distances: SurfaceDistances) -> float:
    return float(distances.prediction_areas_mm2.sum() + distances.truth_areas_mm2.sum())
