"""From what a scan file says to a Volume that can be trusted: the rules that hold for every format.

Geometry comes from the affine only. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unetr.core.space.frames import taken
from unetr.core.space.grids import MOST_SHEAR, grid_tolerance_mm, same_grid, shear_of
from unetr.core.space.volume import Affine, Array, Volume, grid_distance_mm
from unetr.errors import InputError

# Beyond these a header is damaged: a nanometre, a kilometre, and a thousand kilometres.
_SMALLEST_MM, _LARGEST_MM, _FURTHEST_MM = 1e-6, 1e6, 1e9


@dataclass(frozen=True, slots=True, eq=False)
class RawScan:
    """What a scan file says, its integrity verified, its geometry and its values not yet judged.

    data: [C, X, Y, Z] real numbers. affines: the file's word for it -> affine in RAS mm, the first one is used, all
    must agree. missing: what is absent where there is no affine. spacing_mm: the voxel sizes to assume then. notes:
    what a person should know of how it was read.
    """

    data: Array
    affines: Mapping[str, Affine]
    missing: str
    spacing_mm: tuple[float, float, float]
    qform_code: int = 1
    sform_code: int = 1
    label_names: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def trusted_volume(path: Path, raw: RawScan, assume_affine: bool, accept_shear: bool) -> Volume:
    """Judges the geometry and the values. Raises InputError."""
    codes, notes = (raw.qform_code, raw.sform_code), raw.notes
    if raw.affines:
        source, note = _counting(path, raw, accept_shear)
        affine = raw.affines[source]
        if note:
            code = raw.sform_code if source == "sform" else raw.qform_code
            codes, notes = (code, code), (*notes, note)
    elif assume_affine:
        affine = np.diag([*raw.spacing_mm, 1.0])
        check_affine(path, affine, "assumed affine", accept_shear)
    else:
        raise InputError(
            f"{path}: has no affine ({raw.missing}), so left and right are unknown; correct the file, or let its axes "
            "be taken as right, anterior, superior",
            hint="assume_affine",
        )
    check_finite(path, raw.data)
    return Volume(raw.data, affine, *codes, raw.label_names, notes)


def check_affine(path: Path, affine: Affine, source: str, accept_shear: bool = False) -> None:
    """Raises InputError unless the affine is finite, has voxel sizes, can be inverted and is free of shear."""
    if not np.isfinite(affine).all():
        raise InputError(f"{path}: its {source} has NaN or infinite numbers; expected a finite affine")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() <= 0:
        raise InputError(f"{path}: its {source} has a voxel size of 0 mm; expected positive voxel sizes")
    if lengths.min() < _SMALLEST_MM or lengths.max() > _LARGEST_MM or np.abs(affine).max() > _FURTHEST_MM:
        raise InputError(
            f"{path}: its {source} has voxel sizes of {lengths.min():g} to {lengths.max():g} mm and places them up to "
            f"{np.abs(affine[:3, 3]).max():g} mm away; expected sizes of {_SMALLEST_MM:g} to {_LARGEST_MM:g} mm, at "
            f"most {_FURTHEST_MM:g} mm away"
        )
    cosines = affine[:3, :3] / lengths
    if abs(np.linalg.det(cosines)) < 1e-6:
        raise InputError(f"{path}: its {source} is singular: two voxel axes run the same way; correct the header")
    shear = shear_of(affine)
    if shear > MOST_SHEAR and not accept_shear:
        raise InputError(
            f"{path}: its {source} is sheared: two voxel axes are {np.degrees(np.arccos(min(shear, 1))):.2f} degrees "
            "apart, expected 90; correct the header, or accept the shear to use it on its own grid all the same",
            hint="accept_shear",
        )


def check_finite(path: Path, data: Array) -> None:
    """Raises InputError with the number of voxels that are NaN or infinite."""
    if data.dtype.kind != "f":
        return
    bad = data.size - int(np.count_nonzero(np.isfinite(data)))
    if bad:
        nan = int(np.count_nonzero(np.isnan(data)))
        raise InputError(
            f"{path}: {bad} of {data.size} voxels are not numbers ({nan} NaN, {bad - nan} infinite); "
            "expected finite values; repair the scan"
        )


def _counting(path: Path, raw: RawScan, accept_shear: bool) -> tuple[str, str]:
    """Which affine counts, the first where all agree, and what to note: where they disagree, only a person can say.

    Raises InputError.
    """
    shape = raw.data.shape[1], raw.data.shape[2], raw.data.shape[3]
    chosen = taken()
    if chosen is None or chosen not in raw.affines or len(raw.affines) == 1:
        for source, affine in raw.affines.items():
            check_affine(path, affine, source, accept_shear)
    else:
        check_affine(path, raw.affines[chosen], chosen, accept_shear)
    (first, used), *others = raw.affines.items()
    for other, affine in others:
        if _agree(used, affine, shape):
            continue
        distance = grid_distance_mm(used, affine, shape)
        found = f"{path}: its {first} and {other} place the scan {distance:.3g} mm apart"
        if chosen is None:
            raise InputError(
                f"{found}, expected at most {grid_tolerance_mm(used, shape):.2g} mm; say which counts as the "
                "transform, sform or qform, or correct the header",
                hint="transform",
            )
        return chosen, f"{found}; the {chosen} was taken, as was asked or the plan says"
    return first, ""


def _agree(first: Affine, second: Affine, shape: tuple[int, int, int]) -> bool:
    """Whether both are the same grid; an affine that is none agrees with nothing."""
    for affine in (first, second):
        if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0):
            return False
    return same_grid(first, second, shape)
