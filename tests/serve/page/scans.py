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
