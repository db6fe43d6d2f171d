"""A picture of a result as a DICOM Secondary Capture, in the patient's study, that refers to the series behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from unetr.core.space.volume import Array, Volume
from unetr.io.dicom.results.origin import (
    Result,
    begin_instance,
    prepare_result,
    referenced_instances,
    save_verified,
    short_text,
)

_SERIES_NUMBER = 9003
_LONGEST_DESCRIPTION = 1024


def write_capture(
    path: Path,
    labels: Volume,
    picture: Array,
    *,
    algorithm: str,
    algorithm_version: str,
    description: str,
    identity: str = "",
) -> None:
    """Writes a picture, uint8 [rows, columns, 3], of labels [1, X, Y, Z] on the grid of their DICOM source.

    Atomic and verified. description: what the picture shows and is for. Nothing in the picture may name the patient.
    UIDs as of `write_dicom_seg`. Raises InputError where the labels have no DICOM source or are not on its grid,
    MachineError where the machine refuses.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture must be uint8 [rows, columns, 3], got {picture.shape} {picture.dtype}")
    result = prepare_result(path, labels, identity)
    dataset = _capture(result, picture, short_text(algorithm) or "unetr", short_text(algorithm_version) or "0")
    dataset.DerivationDescription = short_text(description, _LONGEST_DESCRIPTION)
    save_verified(path, dataset, lambda temporary: _pixels(temporary) == picture.tobytes())


def _pixels(path: Path) -> bytes:
    dataset = pydicom.dcmread(path)
    return bytes(dataset.PixelData)[: dataset.Rows * dataset.Columns * 3]


def _capture(result: Result, picture: Array, algorithm: str, version: str) -> FileDataset:
    dataset = begin_instance(result, "SC", SecondaryCaptureImageStorage, ExplicitVRLittleEndian, algorithm, version)
    dataset.Modality = "OT"
    dataset.ConversionType = "WSD"
    dataset.SeriesNumber = _SERIES_NUMBER
    dataset.SeriesDescription = short_text(f"Picture of {algorithm}")
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.PatientOrientation = ""
    dataset.Laterality = ""  # not known
    dataset.SecondaryCaptureDeviceManufacturer = "unetr"
    dataset.SecondaryCaptureDeviceManufacturerModelName = algorithm
    dataset.SecondaryCaptureDeviceSoftwareVersions = version
    dataset.ContentDate, dataset.ContentTime = result.content_moment
    dataset.BurnedInAnnotation = "NO"  # there is text in the picture, but none that names the patient
    dataset.SourceImageSequence = referenced_instances(result, with_frames=True)
    _set_pixels(dataset, picture)
    return dataset


def _set_pixels(dataset: Dataset, picture: Array) -> None:
    dataset.Rows, dataset.Columns = picture.shape[:2]
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    content = picture.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB"
