"""What every DICOM result takes from its source: the grid it must fit, the patient and study, references, UIDs, dates.

A result is a function of the source and the labels: the same input gives the same file, with the same UIDs. That is
why its content date and time are the source's, and not those of the clock. Whoever makes results for a job gives its
identity: then the UIDs follow from that alone, so that a job has one object in a PACS, whatever is done again.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, generate_uid

from unetr.core.colours import class_colour, rgb255
from unetr.core.files.atomic import atomic_path
from unetr.core.space.grids import grid_tolerance_mm
from unetr.core.space.volume import Array, Volume, grid_distance_mm
from unetr.errors import InputError, MachineError
from unetr.io.dicom.files import DicomFile
from unetr.io.dicom.header import text, value
from unetr.io.dicom.series.instances import MULTI_FRAME, Instance, Series
from unetr.io.dicom.series.stack import Stack, stack_series
from unetr.io.dicom.source import DicomSource

# The attributes of the Patient, General Study and Patient Study modules that a result repeats.
_REQUIRED = ("StudyInstanceUID",)
_EMPTY_IF_ABSENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
_IF_PRESENT = (
    *("IssuerOfPatientID", "OtherPatientIDsSequence", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription"),
)
_DATES = ("Content", "Acquisition", "Series", "Study")
_UNKNOWN_DATE, _UNKNOWN_TIME = "19000101", "000000"
_LONGEST_TEXT = 64
_LARGEST_LABEL = 65535


@dataclass(frozen=True, slots=True)
class Reference:
    """The source image of one slice. frame: its number from 1 in a multi-frame instance, None otherwise."""

    sop_class: str
    instance_uid: str
    frame: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Labels that fit their source.

    planes: [Z, Y, X], slice, row, column; names: value -> name, in the order of the values, without background.
    references: one for each slice. headers: as in DicomSource, stack: the source's grid. identity: what the UIDs follow
    from, "" for the source and the labels.
    """

    planes: Array
    names: dict[int, str]
    references: tuple[Reference, ...]
    headers: tuple[Dataset, ...]
    stack: Stack
    digest: str
    identity: str = ""

    def uid(self, *what: str) -> str:
        """A UID that only this source, these labels and `what` have; or this identity, where there is one."""
        whose = [self.identity] if self.identity else [self.stack.series.uid, self.digest]
        return str(generate_uid(entropy_srcs=[*whose, *what]))

    @property
    def content_moment(self) -> tuple[str, str]:
        """DICOM date and time: the source's content, acquisition, series or study; 1900-01-01 where it has none."""
        for kind in _DATES:
            date = text(self.headers[0], f"{kind}Date", "the source series")
            time = text(self.headers[0], f"{kind}Time", "the source series")
            if re.fullmatch(r"\d{8}", date):
                return date, time if re.fullmatch(r"\d{6}(\.\d{1,6})?", time) else _UNKNOWN_TIME
        return _UNKNOWN_DATE, _UNKNOWN_TIME


def save_verified(path: Path, dataset: Dataset, is_same: Callable[[Path], bool]) -> None:
    """Writes a result atomically. is_same: whether the temporary file reads back as what was meant; may raise anything.

    Raises MachineError where the machine refuses, or what reads back is something else.
    """

    def verify(temporary: Path) -> None:
        try:
            same = is_same(temporary)
        except Exception as error:
            raise MachineError(f"{path}: what was written cannot be read back; check the disk") from error
        if not same:
            raise MachineError(f"{path}: what reads back is not what was written; check the disk")

    with atomic_path(path, verify) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def prepare_result(path: Path, labels: Volume, identity: str = "") -> Result:
    """Checks labels [1, X, Y, Z] against the series that they belong to. path: the result, for messages; identity: see
    Result.

    Values without a name are called "label N". Raises InputError for labels without DICOM source, on another grid than
    it, without any label, or with more than 65535; ValueError for labels that are not one channel of integers.
    """
    if labels.data.shape[0] != 1 or labels.data.dtype.kind not in "iu":
        raise ValueError(f"labels must be [1, X, Y, Z] integers, got {labels.data.shape} {labels.data.dtype}")
    source = _source(path, labels)
    stack = _stack(path, source)
    if labels.shape != stack.shape:
        sizes = ["×".join(map(str, shape)) for shape in (labels.shape, stack.shape)]
        raise InputError(
            f"{path}: the labels have {sizes[0]} voxels, their DICOM source has {sizes[1]}; expected them "
            "on the source's grid"
        )
    distance = grid_distance_mm(stack.affine, labels.affine, stack.shape)
    allowed = grid_tolerance_mm(stack.affine, stack.shape)
    if distance > allowed:
        raise InputError(
            f"{path}: the labels' affine is up to {distance:.3g} mm away from their DICOM source's; expected at most "
            f"{allowed:.2g} mm: labels on the source's grid"
        )
    planes = labels.data[0].T
    names = _names(path, labels)
    digest = _digest(source, planes, names)
    return Result(planes, names, _references(source), source.headers, stack, digest, identity)


def copy_patient_and_study(header: Dataset, target: Dataset) -> None:
    """Puts the source's patient and study into a result, whose text is UTF-8. Raises InputError for damaged ones."""
    target.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*_REQUIRED, *_EMPTY_IF_ABSENT, *_IF_PRESENT):
        if value(header, keyword, "the source series") is not None:
            # The element, not its value, which might not be what the standard allows and is not ours to change.
            try:
                target[keyword] = _decoded(deepcopy(header[keyword]))
            except MemoryError:
                raise
            except Exception as error:
                raise InputError(
                    f"the source series: its {keyword} is damaged ({type(error).__name__}); correct it"
                ) from error
        elif keyword in _EMPTY_IF_ABSENT:
            setattr(target, keyword, "")


def _decoded(element: DataElement) -> DataElement:
    """The element with all text of its items as characters, and not as bytes of the source's, or an item's own, set."""
    if element.VR != "SQ":
        return element
    items_ = []
    for item in element.value:
        decoded = Dataset()
        for each in item:  # looking at an element decodes it
            if each.keyword != "SpecificCharacterSet":
                decoded[each.tag] = _decoded(each)
        items_.append(decoded)
    return DataElement(element.tag, "SQ", items_)


def short_text(text_: str, length: int = _LONGEST_TEXT) -> str:
    """As DICOM's short texts may be: printable, without backslash, of at most 64 characters.

    Cut to 64 bytes of UTF-8: the limit is one of characters, but programs (dciodvfy) count bytes.
    """
    printable = "".join("/" if letter == "\\" else letter for letter in text_ if letter.isprintable()).strip()
    return printable.encode(errors="replace")[:length].decode(errors="ignore").strip()


def colour(index: int) -> tuple[int, int, int]:
    """RGB 0..255 of the index-th label, as in pictures of it."""
    return rgb255(class_colour(index))


def _source(path: Path, labels: Volume) -> DicomSource:
    source = labels.source[0] if isinstance(labels.source, tuple) and labels.source else labels.source
    if not isinstance(source, DicomSource):
        raise InputError(
            f"{path}: a result in DICOM refers to the scan's own DICOM series, so it needs a DICOM input; "
            "write NIfTI instead, or give the DICOM folder",
            hint="format",
        )
    if source.frames and len(source.headers) > 1:
        raise InputError(
            f"{path}: the scan is a concatenation of {len(source.headers)} DICOM objects, which no result in DICOM "
            "refers to yet; write NIfTI instead",
            hint="format",
        )
    return source


def _stack(path: Path, source: DicomSource) -> Stack:
    """The source's grid, by the rules of reading. Raises InputError."""
    name = f"{path}: the source series"
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
        if not text(source.headers[0], keyword, name):
            raise InputError(
                f"{name} has no {keyword}, which a result in DICOM must repeat; write NIfTI instead", hint="format"
            )
    sop_class = text(source.headers[0], "SOPClassUID", name)
    instances = tuple(
        Instance(DicomFile(f"{name}, slice {index + 1}", 0, io.BytesIO), header, sop_class, source.series_uid)
        for index, header in enumerate(source.headers)
    )
    modality = text(source.headers[0], "Modality", name)
    stack = stack_series(Series(source.series_uid, modality, "", 0.0, instances))
    frames = tuple(each.frame + 1 for each in stack.slices) if sop_class in MULTI_FRAME else ()
    if any(a is not b for a, b in zip(stack.headers, source.headers, strict=True)) or frames != source.frames:
        raise ValueError("DicomSource is not in the order of the slices")
    return stack


def _references(source: DicomSource) -> tuple[Reference, ...]:
    if source.frames:
        header = source.headers[0]
        return tuple(Reference(str(header.SOPClassUID), str(header.SOPInstanceUID), frame) for frame in source.frames)
    return tuple(Reference(str(each.SOPClassUID), str(each.SOPInstanceUID), None) for each in source.headers)


def referenced_image(sop_class: str, instance_uid: str, *frames: int) -> Dataset:
    """An item that refers to a source image, or to these of its frames."""
    image = Dataset()
    image.ReferencedSOPClassUID = sop_class
    image.ReferencedSOPInstanceUID = instance_uid
    if frames:
        image.ReferencedFrameNumber = frames[0] if len(frames) == 1 else list(frames)
    return image


def referenced_instances(result: Result, *, with_frames: bool = False) -> list[Dataset]:
    """Items for the images behind a result, each instance once; with_frames: and the frames that were used of it."""
    used: dict[tuple[str, str], list[int]] = {}
    for one in result.references:
        frames = used.setdefault((one.sop_class, one.instance_uid), [])
        if with_frames and one.frame is not None:
            frames.append(one.frame)
    return [referenced_image(*instance, *frames) for instance, frames in used.items()]


def _names(path: Path, labels: Volume) -> dict[int, str]:
    values = {int(each) for each in np.unique(labels.data)} | set(labels.label_names)
    values.discard(0)
    if not values:
        raise InputError(f"{path}: the labels have neither names nor voxels; expected at least one label to write")
    if min(values) < 0 or max(values) > _LARGEST_LABEL:
        raise InputError(f"{path}: has label values {min(values)}..{max(values)}; expected 0..{_LARGEST_LABEL}")
    return {each: short_text(labels.label_names.get(each, "")) or f"label {each}" for each in sorted(values)}


def _digest(source: DicomSource, planes: Array, names: dict[int, str]) -> str:
    digest = hashlib.sha256(repr((planes.shape, names, _references(source))).encode())
    for plane in planes:
        digest.update(plane.astype("<u2").tobytes())
    return digest.hexdigest()


def begin_instance(result: Result, kind: str, sop_class: UID, syntax: UID, algorithm: str, version: str) -> FileDataset:
    """The one instance of a new series in the patient's study, with what each kind of result says of its making.

    kind: what its UIDs follow from beside source, labels and algorithm, such as "RTSTRUCT".
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(result.uid(kind, algorithm, version))
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=meta)  # type: ignore[arg-type]
    copy_patient_and_study(result.headers[0], dataset)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = result.uid(f"{kind} series", algorithm, version)
    dataset.InstanceNumber = 1
    dataset.Manufacturer = "unetr"
    dataset.ManufacturerModelName = algorithm
    dataset.SoftwareVersions = version
    return dataset
