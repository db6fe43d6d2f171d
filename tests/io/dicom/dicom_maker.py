"""Synthetic DICOM: complete MR and CT instances, single-frame or enhanced multi-frame, with voxels that are given.

Written with pydicom's datasets only, from the standard's tables; nothing of unetr is imported, so it can be an oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import DSfloat

# Row direction (along the columns' index) and column direction (along the rows' index), in the patient's LPS axes.
_OBLIQUE = np.array([[0.9, 0.3, -0.2], [-0.25, 0.95, 0.35]])
DIRECTIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "oblique": (tuple(_OBLIQUE[0]), tuple(_OBLIQUE[1])),
}
_CLASSES = {"MR": (MRImageStorage, EnhancedMRImageStorage), "CT": (CTImageStorage, EnhancedCTImageStorage)}
PATIENT_NAME = "Mustermann^Erika"


def directions(orientation: str | Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """[3, 3]: the unit vectors along columns, rows and slices in LPS, made perpendicular."""
    row, column = np.asarray(DIRECTIONS[orientation] if isinstance(orientation, str) else orientation, float)[:2]
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    column /= np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)])


def ras_affine(
    spacing_mm: Sequence[float], orientation: str | Sequence[Sequence[float]], origin: Sequence[float]
) -> NDArray[np.float64]:
    """Voxel [x, y, z] = column x, row y of slice z -> RAS mm. origin: the first voxel's centre in LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = directions(orientation).T * np.asarray(spacing_mm, float)
    affine[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_series(
    folder: Path,
    voxels: NDArray[Any],
    *,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    orientation: str | Sequence[Sequence[float]] = "axial",
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    modality: str = "MR",
    transfer_syntax: UID = ExplicitVRLittleEndian,
    names: Sequence[str] | None = None,
    **overrides: Any,
) -> NDArray[np.float64]:
    """Writes voxels [X, Y, Z] (16-bit or 8-bit integers) as one series, slice z as instance z; returns the RAS affine.

    spacing_mm: along X (columns), Y (rows), Z (slices). origin: LPS mm of the first voxel. names: the files' names.
    overrides: attributes of every instance by keyword, such as StudyInstanceUID; a callable is called with the slice's
    index, Ellipsis removes the attribute. Attributes of one study or frame of reference are shared by giving them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{index:04d}.dcm" for index in range(voxels.shape[2])]
    for name, dataset in zip(
        names,
        make_series(
            voxels, spacing_mm=spacing_mm, orientation=orientation, origin=origin, modality=modality, **overrides
        ),
        strict=True,
    ):
        save(folder / name, dataset, transfer_syntax)
    return ras_affine(spacing_mm, orientation, origin)


def make_series(
    voxels: NDArray[Any],
    *,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    orientation: str | Sequence[Sequence[float]] = "axial",
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    modality: str = "MR",
    **overrides: Any,
) -> list[Dataset]:
    """The datasets that `write_series` writes, in the order of the slices, native pixel data."""
    axes = directions(orientation)
    common = _common(voxels, modality, _CLASSES[modality][0])
    common.ImageOrientationPatient = [_ds(value) for value in axes[:2].ravel()]
    common.PixelSpacing = [_ds(spacing_mm[1]), _ds(spacing_mm[0])]
    common.SliceThickness = _ds(spacing_mm[2])
    series = []
    for z in range(voxels.shape[2]):
        dataset = deepcopy(common)
        dataset.SOPInstanceUID = generate_uid()
        dataset.InstanceNumber = z + 1
        position = np.asarray(origin, float) + axes[2] * spacing_mm[2] * z
        dataset.ImagePositionPatient = [_ds(value) for value in position]
        dataset.PixelData = voxels[:, :, z].astype(voxels.dtype.newbyteorder("<")).tobytes(order="F")
        _override(dataset, overrides, z)
        series.append(dataset)
    return series


def write_enhanced(
    path: Path,
    voxels: NDArray[Any],
    *,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    orientation: str | Sequence[Sequence[float]] = "axial",
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    modality: str = "MR",
    order: Sequence[int] | None = None,
    rescale: Sequence[tuple[float, float]] | None = None,
    transfer_syntax: UID = ExplicitVRLittleEndian,
    **overrides: Any,
) -> NDArray[np.float64]:
    """Writes voxels [X, Y, Z] as one enhanced multi-frame instance; returns the RAS affine.

    order: the slice that each frame holds (a slice twice makes two stacks). rescale: slope and intercept of each
    frame; one of them for all is in the shared functional groups.
    """
    axes = directions(orientation)
    frames = list(order if order is not None else range(voxels.shape[2]))
    dataset = _common(voxels, modality, _CLASSES[modality][1])
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = len(frames)
    shared = Dataset()
    measures = Dataset()
    measures.PixelSpacing = [_ds(spacing_mm[1]), _ds(spacing_mm[0])]
    measures.SliceThickness = _ds(spacing_mm[2])
    plane = Dataset()
    plane.ImageOrientationPatient = [_ds(value) for value in axes[:2].ravel()]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    if rescale is not None and len(rescale) == 1:
        shared.PixelValueTransformationSequence = [_transformation(*rescale[0])]
    dataset.SharedFunctionalGroupsSequence = [shared]
    per_frame = []
    for index, z in enumerate(frames):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [_ds(value) for value in np.asarray(origin, float) + axes[2] * spacing_mm[2] * z]
        content.StackID, content.InStackPositionNumber = "1", z + 1
        content.DimensionIndexValues = [1, z + 1]
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        if rescale is not None and len(rescale) > 1:
            group.PixelValueTransformationSequence = [_transformation(*rescale[index])]
        per_frame.append(group)
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    little = voxels.dtype.newbyteorder("<")
    dataset.PixelData = b"".join(voxels[:, :, z].astype(little).tobytes(order="F") for z in frames)
    _override(dataset, overrides, 0)
    save(path, dataset, transfer_syntax)
    return ras_affine(spacing_mm, orientation, origin)


def save(path: Path, dataset: Dataset, transfer_syntax: UID = ExplicitVRLittleEndian) -> None:
    """Writes one dataset with native pixel data as a DICOM file, compressed where the transfer syntax says so."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", MRImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if transfer_syntax.is_encapsulated else transfer_syntax
    stored = FileDataset(
        str(path),
        dataset,
        preamble=b"\0" * 128,
        file_meta=meta,
        is_implicit_VR=meta.TransferSyntaxUID.is_implicit_VR,
        is_little_endian=meta.TransferSyntaxUID.is_little_endian,
    )
    if "PixelData" in stored:
        stored["PixelData"].VR = "OB" if dataset.get("BitsAllocated") == 8 else "OW"
    if transfer_syntax.is_encapsulated:
        stored.compress(transfer_syntax, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save_as(path, enforce_file_format=True)


def _ds(value: float) -> DSfloat:
    """A decimal string of at most 16 characters."""
    return DSfloat(float(value), auto_format=True)


def _transformation(slope: float, intercept: float) -> Dataset:
    dataset = Dataset()
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = _ds(slope), _ds(intercept), "US"
    return dataset


def _override(dataset: Dataset, overrides: dict[str, Any], index: int) -> None:
    for keyword, given in overrides.items():
        value = given(index) if callable(given) else given
        if value is ...:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def _common(voxels: NDArray[Any], modality: str, sop_class: UID) -> Dataset:
    """All that the instances of a series share, the modules that the MR and CT image IODs make mandatory."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    dataset.SOPClassUID = sop_class
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20240102"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101112"
    dataset.AccessionNumber = ""
    dataset.Modality = modality
    dataset.Manufacturer = "Synthetic"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic study"
    dataset.SeriesDescription = f"Synthetic {modality}"
    dataset.PatientName = PATIENT_NAME
    dataset.PatientID = "P-1"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "F"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID = "1"
    dataset.SeriesNumber = 1
    dataset.AcquisitionNumber = 1
    if modality == "CT":
        dataset.KVP = "120"
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    else:
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
        dataset.MRAcquisitionType = "3D"
        dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = "8", "3", "1"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Columns, dataset.Rows = voxels.shape[:2]
    bits = voxels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(voxels.dtype.kind == "i")
    return dataset
