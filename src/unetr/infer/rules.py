"""Rules of the plan that remove what cannot be: specks, and second copies of an organ there is one of.

Rules only remove. A removed voxel of a class becomes background. A removed voxel of a region becomes what the smallest
region around it writes, since it is still inside that one: without its core, a tumour's core is tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cc3d
import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan, PostprocessPlan, Region
from unetr.core.space.grids import HEADER_NOISE

# Voxels that touch at a corner are connected: a thin oblique vessel is one component. Fewer and larger components is
# the careful side for rules that delete.
CONNECTIVITY: Final = 26

Labels = NDArray[Any]


def apply_rules(labels: Labels, plan: Plan, voxel_ml: float) -> Labels:
    """The label values [X, Y, Z] after the plan's `postprocess` rules; the input is not changed.

    labels: non-negative integers as they go into the label file. voxel_ml: volume of one voxel in millilitres. Without
    rules the same array is returned, else a copy of the same type. Of components of equal size the one that holds the
    first voxel in index order is the largest. Beyond the copy, memory is a few bytes per voxel of the bounding box of
    one class at a time.

    Regions are taken from the file's values as `extent_values` says, and the largest regions go first: a core inside a
    removed tumour goes with it. Applying the rules twice changes nothing more where regions are nested or apart.
    """
    rules = [(name, rule) for name, rule in plan.postprocess.items() if rule != PostprocessPlan()]
    if not rules:
        return labels
    from scipy.ndimage import find_objects  # takes a third of a second, which plans without rules need not wait for

    extents = extent_values(plan)
    fillers = _filler_values(plan)
    boxes = find_objects(labels)
    result = labels.copy()
    for name, rule in sorted(rules, key=lambda item: _largest_first(plan, item[0])):
        box = _union([boxes[value - 1] for value in extents[name] if value <= len(boxes)])
        if box is not None:
            _remove(result[box], extents[name], rule, voxel_ml, fillers[name])
    return result


def extent_values(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Name of each foreground class or region -> the values in the label file that make it up.

    A class has its own value. A region has its own and those of the regions inside it, i.e. whose labels are all among
    its own: the file holds one value per voxel, so of nested regions only the one written last is seen. Where regions
    overlap without one holding the other, the overlap counts for the one written last.
    """
    if not plan.has_regions:
        return {name: (value,) for name, value in plan.foreground.items()}
    return {
        region.name: tuple(other.written_as for other in plan.regions if other is region or _inside(other, region))
        for region in plan.regions
    }


def _inside(inner: Region, outer: Region) -> bool:
    return set(inner.labels) < set(outer.labels)


def _filler_values(plan: Plan) -> dict[str, int]:
    """Name -> what its removed voxels become: the value of the smallest region around it, or background."""
    fillers = dict.fromkeys(plan.class_names, 0)
    for region in plan.regions:
        around = [outer for outer in plan.regions if _inside(region, outer)]
        fillers[region.name] = min(around, key=lambda outer: len(set(outer.labels))).written_as if around else 0
    return fillers


def _largest_first(plan: Plan, name: str) -> int:
    return -next((len(set(region.labels)) for region in plan.regions if region.name == name), 0)


def _union(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...] | None:
    """The smallest box around boxes; None for values that do not occur."""
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*present, strict=True))


def _remove(part: Labels, values: Sequence[int], rule: PostprocessPlan, voxel_ml: float, filler: int) -> None:
    """In place: voxels [X, Y, Z] with one of the values whose component the rule removes become the filler."""
    # With an empty plane behind each axis: cc3d 4.1 runs out of component numbers in thin grids (1x1x3, 3x3x3).
    mask = np.zeros([size + 1 for size in part.shape], dtype=np.bool_)
    for value in values:
        mask[:-1, :-1, :-1] |= part == value
    components, count = cc3d.connected_components(mask, connectivity=CONNECTIVITY, return_N=True)
    if count == 0:
        return
    sizes = cc3d.statistics(components, no_slice_conversion=True)["voxel_counts"].astype(np.int64)
    sizes[0] = 0
    # A component of exactly the minimum must not fall to the rounding of spacings, of which volumes are products.
    keep = sizes * voxel_ml >= rule.minimum_volume_ml * (1 - HEADER_NOISE)
    if rule.largest_component:
        keep &= np.arange(count + 1) == _largest(components, sizes)
    keep[0] = True
    if not keep.all():
        # Plane by plane: an index array is turned to 8 bytes per voxel.
        for plane, numbers in zip(part, components[:-1, :-1, :-1], strict=True):
            plane[~keep[numbers]] = filler


def _largest(components: NDArray[np.unsignedinteger], sizes: NDArray[np.int64]) -> int:
    """The number of the largest component; at a tie of the one whose first voxel comes first in index order."""
    tied = np.flatnonzero(sizes == sizes.max())
    if len(tied) == 1:
        return int(tied[0])
    is_tied = np.isin(np.arange(len(sizes)), tied)
    plane = next(numbers for numbers in components if is_tied[numbers].any())
    return int(plane.flat[int(np.argmax(is_tied[plane]))])
