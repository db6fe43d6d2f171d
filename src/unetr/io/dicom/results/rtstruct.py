"""Labels as a DICOM RT Structure Set: closed planar contours on the slices of the series they were made from.

One ROI for each label value, whose number is the value. A contour runs halfway between the voxel centres inside and
outside, in patient coordinates (LPS mm); voxels that touch at a corner are apart. Holes are joined to what is
around them by the keyhole technique, a channel without width, as the standard has it for CLOSED_PLANAR.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage
from scipy.ndimage import find_objects

from unetr.core.space.volume import Array, Volume
from unetr.io.dicom.header import text
from unetr.io.dicom.results.codes import segment_code
from unetr.io.dicom.results.contours import mask_contours
from unetr.io.dicom.results.origin import (
    Reference,
    Result,
    begin_instance,
    colour,
    prepare_result,
    referenced_image,
    referenced_instances,
    save_verified,
    short_text,
)

_SERIES_NUMBER = 9002
_CONTOUR_DATA = Tag("ContourData")
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_rtstruct(path: Path, labels: Volume, *, algorithm: str, algorithm_version: str, identity: str = "") -> None:
    """Writes labels [1, X, Y, Z] on the grid of their DICOM source as one RT Structure Set, atomically and verified.

    algorithm, algorithm_version: what made them, for the ROIs' generation description. UIDs and dates follow from
    source, labels and algorithm, so that the same input gives the same bytes. Labels of nothing but background become
    ROIs without contours. identity: see `origin.Result`. Raises InputError where the labels have no DICOM source or are
    not on its grid, MachineError where the machine refuses.
    """
    result = prepare_result(path, labels, identity)
    dataset = _structure_set(result, short_text(algorithm) or "unetr", short_text(algorithm_version) or "0")
    expected = _summary(dataset)
    save_verified(path, dataset, lambda temporary: _summary(pydicom.dcmread(temporary)) == expected)


def _summary(dataset: Dataset) -> list[tuple[int, str, Counter[str], str]]:
    """Of each ROI: number, name, contours by instance and frame, a checksum of their points' text."""
    names = {int(each.ROINumber): str(each.ROIName) for each in dataset.StructureSetROISequence}
    found = []
    for roi in dataset.ROIContourSequence:
        number = int(roi.ReferencedROINumber)
        contours: Counter[str] = Counter()
        points = hashlib.sha256()
        for contour in roi.get("ContourSequence", []):
            image = contour.ContourImageSequence[0]
            contours[f"{image.ReferencedSOPInstanceUID} {image.get('ReferencedFrameNumber', '')}"] += 1
            text_ = contour.get_item(
                _CONTOUR_DATA
            ).value  # not converted to numbers: slower than all else; bytes if read
            points.update(text_.encode() if isinstance(text_, str) else text_)
        found.append((number, names[number], contours, points.hexdigest()))
    return found


def _structure_set(result: Result, algorithm: str, version: str) -> FileDataset:
    # Implicit: the length of a contour's text may exceed the 16 bits that explicit decimal strings have.
    syntax = ImplicitVRLittleEndian
    dataset = begin_instance(result, "RTSTRUCT", RTStructureSetStorage, syntax, algorithm, version)
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesNumber = _SERIES_NUMBER
    dataset.SeriesDescription = short_text(f"Segmentation by {algorithm}")
    dataset.OperatorsName = ""
    dataset.FrameOfReferenceUID = str(result.headers[0].FrameOfReferenceUID)
    dataset.PositionReferenceIndicator = ""
    dataset.StructureSetLabel = "SEGMENTATION"
    dataset.StructureSetDate, dataset.StructureSetTime = result.content_moment
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame_of_reference(result)]
    dataset.StructureSetROISequence = [_roi(result, value, f"{algorithm} {version}") for value in result.names]
    dataset.ROIContourSequence = _roi_contours(result)
    dataset.RTROIObservationsSequence = [
        _observation(value, index + 1, name) for index, (value, name) in enumerate(result.names.items())
    ]
    return dataset


def _referenced_frame_of_reference(result: Result) -> Dataset:
    header = result.headers[0]
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = result.stack.series.uid
    series.ContourImageSequence = referenced_instances(result)
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # retired, but the standard's value for this attribute
    study.ReferencedSOPInstanceUID = text(header, "StudyInstanceUID", "the source series")
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = str(header.FrameOfReferenceUID)
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(one: Reference) -> Dataset:
    return referenced_image(one.sop_class, one.instance_uid, *(() if one.frame is None else (one.frame,)))


def _roi(result: Result, value: int, algorithm: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber = value
    roi.ReferencedFrameOfReferenceUID = str(result.headers[0].FrameOfReferenceUID)
    roi.ROIName = result.names[value]
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    roi.ROIGenerationDescription = short_text(algorithm)
    return roi


def _observation(value: int, number: int, name: str) -> Dataset:
    """What the ROI is: ORGAN where its name is known to be one; empty, unknown, otherwise."""
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = value
    observation.RTROIInterpretedType = "ORGAN" if segment_code(name).is_anatomy else ""
    observation.ROIInterpreter = ""
    return observation


def _roi_contours(result: Result) -> list[Dataset]:
    affine = _LPS @ result.stack.affine
    boxes = find_objects(result.planes)
    rois = []
    for index, value in enumerate(result.names):
        roi = Dataset()
        roi.ROIDisplayColor = list(colour(index))
        roi.ReferencedROINumber = value
        box = boxes[value - 1] if value <= len(boxes) else None
        contours = [] if box is None else _contours(result, value, box, affine)
        if contours:
            roi.ContourSequence = contours
        rois.append(roi)
    return rois


def _contours(result: Result, value: int, box: Sequence[slice], affine: Array) -> list[Dataset]:
    """The contours of one label. box: where it is along slices, rows, columns; affine: voxel -> LPS mm."""
    contours: list[Dataset] = []
    corner = np.array([box[2].start, box[1].start])
    for z in range(box[0].start, box[0].stop):
        for points in mask_contours(result.planes[z, box[1], box[2]] == value):
            voxels = np.column_stack([points + corner, np.full(len(points), z)])
            contour = Dataset()
            contour.ContourImageSequence = [_image(result.references[z])]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourNumber = len(contours) + 1
            contour[_CONTOUR_DATA] = _contour_data(voxels @ affine[:3, :3].T + affine[:3, 3])
            contours.append(contour)
    return contours


def _contour_data(points: Array) -> DataElement:
    """Points [N, 3] in mm as decimal strings of at most 16 characters, to a millionth of a millimetre.

    One text of even length, as it is stored: pydicom would make an object of every number.
    """
    text_ = "\\".join(f"{number:.6f}".rstrip("0").rstrip(".") for number in (points + 0.0).ravel().tolist())
    return DataElement(_CONTOUR_DATA, "DS", text_ + " " * (len(text_) % 2), already_converted=True)
