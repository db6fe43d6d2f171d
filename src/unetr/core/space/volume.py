"""Volume: voxels plus geometry, the one currency between reading, preparing, predicting and writing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Affine = NDArray[np.float64]

# Affines closer than this (in mm, at every corner of the grid) describe the same grid.
GRID_TOLERANCE_MM = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels and where they are in the patient.

    data: [C, X, Y, Z], any real dtype. affine: 4x4 float64, voxel index -> RAS millimetres.
    qform_code, sform_code: the NIfTI codes of the file it came from, kept so that what is written says the same.
    label_names: value -> name, for label volumes that carry their names.
    notes: what was done on the way that a person should know of, a sentence each.
    source: what a writer needs in order to refer to the scan (`io.dicom.source.DicomSource`), None for plain files.
    doubts: why it may be incomplete or not what it seems, a sentence each; the verdict warns of them.
    """

    data: Array
    affine: Affine
    qform_code: int = 1
    sform_code: int = 1
    label_names: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: object | None = field(default=None, repr=False)
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 4:
            raise ValueError(f"Volume.data must be [C, X, Y, Z], got {self.data.ndim} axes")
        if self.affine.shape != (4, 4):
            raise ValueError(f"Volume.affine must be 4x4, got {self.affine.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along X, Y, Z."""
        x, y, z = self.data.shape[1:]
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along X, Y, Z."""
        return affine_spacing_mm(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres: |det| of the affine's 3x3 part / 1000."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def with_data(self, data: Array, **changes: Any) -> Volume:
        """The same grid with other voxels."""
        return replace(self, data=data, **changes)


def affine_spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Lengths of the affine's three columns, in mm."""
    x, y, z = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return x, y, z


def grid_distance_mm(first: Affine, second: Affine, shape: tuple[int, int, int]) -> float:
    """Largest distance, over the corners of the grid, between where two affines put the same voxel."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((first - second) @ homogeneous)[:3], axis=0).max())
