"""Small scans with labels, and the voxels of NIfTI as nibabel reads them."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel as nib
import numpy as np


def voxels(data: bytes) -> Any:
    return np.asarray(nib.Nifti1Image.from_bytes(gunzipped(data)).dataobj)


def gunzipped(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def stroked(labels: bytes, start_mm: Any, end_mm: Any, diameter_mm: float, value: int) -> Any:
    """The voxels after a straight stroke in an axial slice, reckoned with nibabel and numpy alone.

    A disc whose diameter is in millimetres goes from voxel to voxel; those whose centres it covers have the value.
    """
    image = nib.Nifti1Image.from_bytes(gunzipped(labels))
    upright = nib.as_closest_canonical(image)
    data = np.asarray(upright.dataobj).copy()
    inverse = np.linalg.inv(upright.affine)
    start, end = (np.rint(nib.affines.apply_affine(inverse, mm)).astype(int) for mm in (start_mm, end_mm))
    assert start[2] == end[2]
    x, y = np.indices(data.shape[:2])
    wide, high, _ = nib.affines.voxel_sizes(upright.affine)
    steps = max(1, *np.abs(end - start))
    for step in range(steps + 1):
        at = np.floor(start + (end - start) * step / steps + 0.5)
        disc = ((x - at[0]) * wide) ** 2 + ((y - at[1]) * high) ** 2 <= (diameter_mm / 2) ** 2
        data[..., start[2]][disc] = value
    usual = nib.orientations.axcodes2ornt("RAS")
    back = nib.orientations.ornt_transform(usual, nib.io_orientation(image.affine))
    return nib.orientations.apply_orientation(data, back)


def oriented(code: str, seed: int = 7) -> tuple[bytes, bytes]:
    """A scan and labels, asymmetric, anisotropic and oblique, whose axes point as the code says."""
    rng = np.random.default_rng(seed)
    shape = (13, 17, 11)
    turn = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(code)), shape)
    tilt = np.eye(4)
    tilt[:3, :3] = nib.eulerangles.euler2mat(0.2, 0.15, 0.1)
    affine = tilt @ turn @ np.diag([1.1, 1.9, 3.2, 1.0])
    labels = np.zeros(shape, np.uint8)
    labels[2:9, 3:8, 1:4] = 1
    labels[5:12, 9:15, 6:9] = 2
    labels[0, 0, 0] = 1
    scan = nib.Nifti1Image((rng.random(shape) * 200 + 300.0 * labels).astype(np.float32), affine)
    return scan.to_bytes(), gzip.compress(nib.Nifti1Image(labels, affine).to_bytes())
