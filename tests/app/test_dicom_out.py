"""`unetr predict --format dicom-seg|rtstruct`: the labels of `--format nifti`, on the source's slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Command = Callable[..., Any]
FilesIn = Callable[[Path], list[str]]


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "oblique"])
def test_dicom_results_are_the_labels(
    unetr: Command, maker: ModuleType, tiny_model: Path, tmp_path: Path, files_in: FilesIn, orientation: str
) -> None:
    import nibabel
    import pydicom
    from matplotlib.path import Path as Polygon

    highdicom = pytest.importorskip("highdicom")
    folder, out = tmp_path / "study", tmp_path / "out"
    voxels = np.random.default_rng(0).integers(0, 1000, (24, 20, 18), dtype=np.int16)
    affine = maker.write_series(folder, voxels, orientation=orientation, PatientName="Doe^Jane", PatientID="SECRET-7")
    shown = ""
    for result_format in ("nifti", "dicom-seg", "rtstruct"):
        outcome = unetr("predict", tiny_model, folder, "-o", out, "--format", result_format, "--json")
        assert outcome.code == 0, outcome
        shown += outcome.out + outcome.err
    assert files_in(out) == ["study.nii.gz", "study.rtstruct.dcm", "study.seg.dcm"]
    assert "Doe" not in shown and "SECRET" not in shown

    image = nibabel.load(out / "study.nii.gz")
    labels = np.asarray(image.dataobj)
    assert labels.any() and np.allclose(image.affine, affine, atol=1e-4)
    seg = highdicom.seg.segread(out / "study.seg.dcm")
    volume = seg.get_volume(combine_segments=True, allow_missing_positions=True)
    indices = np.argwhere(volume.array)
    ras = volume.map_indices_to_reference(indices) * (-1, -1, 1)
    ours = np.rint((ras - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    found = np.zeros_like(labels)
    found[tuple(ours.T)] = volume.array[tuple(indices.T)]
    np.testing.assert_array_equal(found, labels)

    grid = np.indices(labels.shape[:2]).reshape(2, -1).T
    inverse = np.linalg.inv(affine[:3, :3])
    for roi in pydicom.dcmread(out / "study.rtstruct.dcm").ROIContourSequence:
        mask = np.zeros(labels.shape, bool)
        for contour in roi.get("ContourSequence", []):
            points = np.array(contour.ContourData, float).reshape(-1, 3) * (-1, -1, 1)
            places = (points - affine[:3, 3]) @ inverse.T
            inside = Polygon(places[:, :2], closed=False).contains_points(grid)
            mask[:, :, round(places[:, 2].mean())] |= inside.reshape(labels.shape[:2])
        np.testing.assert_array_equal(mask, labels == roi.ReferencedROINumber)
