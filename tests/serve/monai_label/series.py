"""DICOM series of one scan whose slices lie in other directions, written with pydicom alone."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid

DIRECTIONS = ("axial", "sagittal", "reversed", "flipped")


def write_series(source: Path, target: Path, direction: str) -> Path:
    """Writes the series of the folder `source` anew into `target`.

    axial: as it is. sagittal: slices along its columns. reversed: numbered from the other end. flipped: rows run the
    other way, so that the normal points to the other end as well.
    """
    slices = [pydicom.dcmread(path) for path in sorted(source.glob("*.dcm"))]
    axes = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(axes[0], axes[1])
    slices.sort(key=lambda one: float(np.dot(np.array(one.ImagePositionPatient, float), normal)))
    voxels = np.stack([one.pixel_array for one in slices])  # slices, rows, columns
    down, right = (float(number) for number in slices[0].PixelSpacing)
    places = [np.array(one.ImagePositionPatient, float) for one in slices]
    step = (places[-1] - places[0]) / (len(slices) - 1)
    start, along = places[0], {"right": axes[0] * right, "down": axes[1] * down, "step": step}
    if direction == "sagittal":  # rows along the old step, columns along the old rows, slices along the old columns
        voxels = voxels.transpose(2, 0, 1)
        along = {"right": along["down"], "down": along["step"], "step": along["right"]}
    if direction == "flipped":
        voxels = voxels[:, :, ::-1]
        start = start + along["right"] * (voxels.shape[2] - 1)
        along["right"] = -along["right"]
    target.mkdir(parents=True)
    series, study = generate_uid(), generate_uid()
    for index, plane in enumerate(voxels):
        one = copy.deepcopy(slices[0])
        one.SeriesInstanceUID, one.StudyInstanceUID = series, study
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        number = len(voxels) - index if direction == "reversed" else index + 1
        one.InstanceNumber = number
        one.Rows, one.Columns = plane.shape
        one.PixelSpacing = [float(np.linalg.norm(along["down"])), float(np.linalg.norm(along["right"]))]
        one.SpacingBetweenSlices = one.SliceThickness = float(np.linalg.norm(along["step"]))
        unit = [vector / np.linalg.norm(vector) for vector in (along["right"], along["down"])]
        one.ImageOrientationPatient = [f"{number:.10g}" for number in np.concatenate(unit)]
        one.ImagePositionPatient = [f"{number:.10g}" for number in start + index * along["step"]]
        if "SliceLocation" in one:
            del one.SliceLocation
        one.PixelData = np.ascontiguousarray(plane).tobytes()
        one.save_as(target / f"{number:03}.dcm")
    return target
