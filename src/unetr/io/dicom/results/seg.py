"""Labels as a DICOM Segmentation (SEG) that refers to the series they were made from.

BINARY, one segment for each label value, numbered from 1 in the order of the values. The value is in the segment's
description, "label value 7", the name in its label. Empty frames are left out; labels of nothing but background, a
valid prediction, become one frame without a pixel, since a SEG has at least one.
Importing this module imports pydicom, not highdicom.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from unetr.core.space.volume import Array, Volume
from unetr.errors import InputError, MachineError
from unetr.io.dicom.header import numbers_of
from unetr.io.dicom.results.codes import OWN_SCHEME, segment_code
from unetr.io.dicom.results.origin import (
    Result,
    colour,
    copy_patient_and_study,
    prepare_result,
    save_verified,
    short_text,
)

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

_SERIES_NUMBER = 9001
_VALUE = "label value {}"


def write_dicom_seg(path: Path, labels: Volume, *, algorithm: str, algorithm_version: str, identity: str = "") -> None:
    """Writes labels [1, X, Y, Z] on the grid of their DICOM source as one Segmentation, atomically and verified.

    algorithm, algorithm_version: what made them, for its algorithm identification. UIDs and dates follow from source,
    labels and algorithm, so that the same input gives the same bytes. identity: see `origin.Result`. Raises InputError
    where the labels have no DICOM source or are not on its grid, MachineError where highdicom is missing or the machine
    refuses.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise MachineError(
            f"{path}: writing DICOM segmentations needs highdicom; run: pip install 'unetr[dicom]'"
        ) from None
    result = prepare_result(path, labels, identity)
    dataset = _segmentation(result, short_text(algorithm) or "unetr", short_text(algorithm_version) or "0")
    save_verified(path, dataset, lambda temporary: np.array_equal(_read_back(temporary, result), result.planes))


def _read_back(path: Path, result: Result) -> Array:
    """The label values [Z, Y, X] in a SEG of the result's source, without highdicom; raises whatever if it is not one.

    Frame by frame: the unpacked bits of all segments together would be classes × volume.
    """
    dataset = pydicom.dcmread(path)
    slices = {(each.instance_uid, each.frame): z for z, each in enumerate(result.references)}
    values = {
        int(each.SegmentNumber): int(re.sub(r"\D", "", each.SegmentDescription)) for each in dataset.SegmentSequence
    }
    labels: Array = np.zeros(result.planes.shape, result.planes.dtype)
    rows, columns = result.planes.shape[1:]
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = image.get("ReferencedFrameNumber")
        z = slices[str(image.ReferencedSOPInstanceUID), None if frame is None else int(frame)]
        identification = (group if "SegmentIdentificationSequence" in group else shared).SegmentIdentificationSequence
        bits = _bits(packed, index * rows * columns, rows * columns).reshape(rows, columns)
        labels[z][bits] = values[int(identification[0].ReferencedSegmentNumber)]
    return labels


def _bits(packed: Array, start: int, count: int) -> Array:
    first = start // 8
    unpacked = np.unpackbits(packed[first : (start + count + 7) // 8], bitorder="little")
    return unpacked[start - 8 * first :][:count].astype(bool)


def _segmentation(result: Result, algorithm: str, version: str) -> Segmentation:
    import highdicom

    date, time = result.content_moment
    numbers = {value: index + 1 for index, value in enumerate(result.names)}
    pixels = _numbered(result, numbers)
    is_empty = not pixels.any()
    if is_empty:
        pixels[0, 0, 0] = 1  # highdicom would write every slice of every segment
    dataset = highdicom.seg.Segmentation(
        source_images=_stand_ins(result),
        pixel_array=pixels,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(result, value, numbers[value], algorithm, version) for value in numbers],
        series_instance_uid=result.uid("SEG series", algorithm, version),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=result.uid("SEG", algorithm, version),
        instance_number=1,
        manufacturer="unetr",
        manufacturer_model_name=algorithm,
        software_versions=version,
        device_serial_number="none",
        content_description="Automatic segmentation",
        content_label="SEGMENTATION",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=short_text(f"Segmentation by {algorithm}"),
        content_date=date,
        content_time=time,
        specific_character_set="ISO_IR 192",
    )
    if is_empty:
        dataset.PixelData = bytes(len(dataset.PixelData))
    copy_patient_and_study(result.headers[0], dataset)
    _name_own_scheme(result, dataset)
    _make_reproducible(dataset, result.uid("SEG dimensions"))
    return dataset


def _name_own_scheme(result: Result, dataset: Dataset) -> None:
    """Identifies our own coding scheme, where a label's name needs it."""
    if any(segment_code(name).is_own for name in result.names.values()):
        scheme = Dataset()
        scheme.CodingSchemeDesignator = OWN_SCHEME
        scheme.CodingSchemeName = "Names of labels in unetr models"
        dataset.CodingSchemeIdentificationSequence = [scheme]


def _description(result: Result, value: int, number: int, algorithm: str, version: str) -> SegmentDescription:
    import highdicom

    code = segment_code(result.names[value])
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=result.names[value],
        segmented_property_category=code.category,
        segmented_property_type=code.type,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm, family=codes.cid7162.ArtificialIntelligence, version=version
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*colour(number - 1)),
    )
    description.SegmentDescription = _VALUE.format(value)
    if code.modifiers:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            highdicom.sr.CodedConcept.from_code(each) for each in code.modifiers
        ]
    return description


def _numbered(result: Result, numbers: dict[int, int]) -> Array:
    """Segment numbers [frame or slice, row, column], in the order of the stand-ins' frames or instances."""
    table = np.zeros(max(numbers) + 1, np.uint8 if len(numbers) < 256 else np.uint16)
    for value, number in numbers.items():
        table[value] = number
    numbered = np.empty(result.planes.shape, table.dtype)
    for z, reference in enumerate(result.references):
        numbered[z if reference.frame is None else reference.frame - 1] = table[result.planes[z]]
    return numbered


def _stand_ins(result: Result) -> list[Dataset]:
    """What highdicom needs to know of the source images, and no more: it would log the patient's name, refuse values
    that the standard does not allow, and slices whose orientations differ in the last digit."""
    first = _common(result)
    if result.references[0].frame is not None:
        return [_multi_frame(result, first)]
    stand_ins = []
    for reference, header in zip(result.references, result.headers, strict=True):
        image = Dataset()
        image.update(first)
        image.SOPInstanceUID = reference.instance_uid
        image.ImagePositionPatient = header.ImagePositionPatient
        image.ImageOrientationPatient = result.headers[0].ImageOrientationPatient
        image.update(_measures(result))
        stand_ins.append(image)
    return stand_ins


def _common(result: Result) -> Dataset:
    header = result.headers[0]
    common = Dataset()
    for keyword in ("SOPClassUID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality", "Rows", "Columns"):
        setattr(common, keyword, header.get(keyword, ""))
    common.SeriesInstanceUID = result.stack.series.uid
    common.PositionReferenceIndicator = ""
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(common, keyword, "")
    common.StudyDate = common.StudyTime = None
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if header.get(keyword):
            common[keyword] = header[keyword]
    return common


def _multi_frame(result: Result, common: Dataset) -> Dataset:
    image, shared, orientation = Dataset(), Dataset(), Dataset()
    image.update(common)
    image.SOPInstanceUID = result.references[0].instance_uid
    image.NumberOfFrames = len(result.references)
    orientation.ImageOrientationPatient = [_decimal(each) for each in result.stack.slices[0].axes.ravel()]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [_measures(result)]
    image.SharedFunctionalGroupsSequence = [shared]
    frames: dict[int, Dataset] = {}
    for reference, each in zip(result.references, result.stack.slices, strict=True):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [_decimal(number) for number in each.position]
        group.PlanePositionSequence = [place]
        frames[reference.frame or 0] = group
    image.PerFrameFunctionalGroupsSequence = [frames[number] for number in sorted(frames)]
    return image


def _measures(result: Result) -> Dataset:
    """Pixel spacing, and the distance of the slices, which stands for the thickness too where the source has none."""
    distance = _decimal(float(np.linalg.norm(result.stack.affine[:3, 2])))
    try:
        thickness = numbers_of(result.headers[0], "SliceThickness", 1, "the source series")
    except InputError:  # reading a series does not use it either
        thickness = None
    measures = Dataset()
    measures.PixelSpacing = [_decimal(each) for each in result.stack.slices[0].spacing_mm]
    measures.SliceThickness = _decimal(thickness[0]) if thickness and thickness[0] > 0 else distance
    measures.SpacingBetweenSlices = distance
    return measures


def _decimal(number: float) -> pydicom.valuerep.DSfloat:
    return pydicom.valuerep.DSfloat(number, auto_format=True)


def _make_reproducible(dataset: Dataset, dimension_uid: str) -> None:
    """Replaces what highdicom takes from the clock or at random."""
    del dataset.InstanceCreationDate, dataset.InstanceCreationTime
    for equipment in dataset.get("ContributingEquipmentSequence", []):
        equipment.pop("ContributionDateTime", None)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimension_uid
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = dimension_uid
