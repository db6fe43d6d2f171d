"""How small the structures of a label are: what a coarser grid may lose, from the widths of connected components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr.core.plan.fingerprint import Fingerprint
from unetr.prepare.measure.scan_facts import Triple, by_axis

# Widths are told apart up to so many of the finest axis's voxels; no budget coarsens more than 3 times.
WIDEST = 8
# A box of w voxels keeps a voxel above one half on any grid of spacing w - 0.6 voxels: at its worst, a target voxel
# lies half of the spacing off the middle along each axis, where linear masks are 0.79 each, and 0.79^3 is one half.
_SAFE = 0.6
# Components that together hold less than this share of a label are specks of an annotation.
_SPECKS = 0.02
# Of the components, and of the cases, the width that all but these have.
_SMALL_PERCENT = 10.0
_SAME = 0.01
_RARE_RISK = 0.1


@dataclass(frozen=True, slots=True)
class Structures:
    """Of one label in one case. width_mm: the 10th percentile over its components (specks left out) of the side of the
    largest box that lies within; no more than that of the boxes that hold half of its voxels, for thin vessels."""

    components: int
    width_mm: float


def measure_structures(mask: NDArray[np.bool_], spacing_mm: Triple) -> Structures:
    """Measures a mask [X, Y, Z] that is not empty, its voxels of the given spacing."""
    import cc3d  # takes a moment, which a prediction need not wait for

    places = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    inside = np.ascontiguousarray(mask[tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)])
    components, count = cc3d.connected_components(inside, connectivity=26, return_N=True)
    sizes = np.bincount(components.reshape(-1), minlength=count + 1)[1:]
    finest = min(spacing_mm)
    widths = np.zeros(count + 1)
    typical = finest
    for step in range(1, WIDEST + 1):
        box = [max(1, int(step * finest / length + 1e-6)) for length in spacing_mm]
        opened = _opened(inside, box)
        if not opened.any():
            break
        widths[np.unique(components[opened])] = step * finest
        if 2 * np.count_nonzero(opened) >= sizes.sum():
            typical = step * finest
    order = np.argsort(sizes)
    kept = order[np.cumsum(sizes[order]) > _SPECKS * sizes.sum()]
    small = float(np.percentile(widths[1:][kept], _SMALL_PERCENT))
    return Structures(int(count), min(small, typical))


def share_at_risk(fingerprint: Fingerprint, spacing_mm: Sequence[float]) -> float:
    """Of the cases whose labels' widths are known, the share that a grid of this spacing may cost structures."""
    known = [
        (width, own) for width, own in zip(fingerprint.widths_mm, fingerprint.spacings_mm, strict=False) if width > 0
    ]
    if not known:
        return 0.0
    return sum(_at_risk(width, own, spacing_mm) for width, own in known) / len(known)


def spare_structures(spacing_mm: Triple, fingerprint: Fingerprint) -> tuple[Triple, str]:
    """The same spacing, or that of the finer scans where it would cost more than a tenth of the cases structures."""
    risk = share_at_risk(fingerprint, spacing_mm)
    if risk <= _RARE_RISK:
        return spacing_mm, ""
    spacings = np.array(fingerprint.spacings_mm)
    finest, lowest = spacing_mm, risk
    for percent in (25, 10, 0):
        right, front, up = (
            min(own, float(f"{value:.6g}"))
            for own, value in zip(spacing_mm, np.percentile(spacings, percent, axis=0), strict=True)
        )
        found = share_at_risk(fingerprint, (right, front, up))
        if found < lowest - 1e-9:
            finest, lowest = (right, front, up), found
        if lowest <= _RARE_RISK:
            break
    if finest == spacing_mm:
        return spacing_mm, f"; {risk:.0%} of the cases have structures so thin that resampling may lose some of them"
    return finest, (
        f"; made finer, from {by_axis(spacing_mm)} mm: that would cost {risk:.0%} of the cases structures that are "
        f"thinner than its voxels, this {lowest:.0%}"
    )


def _at_risk(width_mm: float, own_mm: Triple, spacing_mm: Sequence[float]) -> bool:
    """Structures as wide as is told apart are at no risk; nor is anything where the grid stays as it is."""
    if width_mm >= WIDEST * min(own_mm) * (1 - _SAME):
        return False
    return any(
        abs(new - own) > _SAME * own and new > max(width_mm, own) - (_SAFE - 1e-6) * own
        for new, own in zip(spacing_mm, own_mm, strict=True)
    )


def _opened(mask: NDArray[np.bool_], box: list[int]) -> NDArray[np.bool_]:
    """The union of all boxes that lie within the mask; beyond its edges there is nothing."""
    padded = np.pad(mask, [(side, side) for side in box]).view(np.uint8)
    for axis, side in enumerate(box):
        padded = ndimage.minimum_filter1d(padded, side, axis=axis, mode="constant")
    for axis, side in enumerate(box):
        # The mirrored origin, so that erosion and dilation are by the same box.
        padded = ndimage.maximum_filter1d(padded, side, axis=axis, mode="constant", origin=-1 if side % 2 == 0 else 0)
    opened: NDArray[np.bool_] = padded[tuple(slice(side, -side) for side in box)] > 0
    return opened
