"""From files to the image series among them: which objects are images, and which instances belong together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import pydicom
from pydicom.dataset import Dataset

from unetr.errors import InputError
from unetr.io.dicom.files import DicomFile, FileStream, begins_like_dicom, each_file
from unetr.io.dicom.header import parse, text

SINGLE_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
}
MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "legacy converted enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "legacy converted enhanced MR",
    "1.2.840.10008.5.1.4.1.1.130": "enhanced PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "legacy converted enhanced PET",
}
_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
_NOT_IMAGES = {"readme", "license", "licence", "copying", "version", "lockfile", "autorun"}
_LISTED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One DICOM object: its file and its header without pixel data."""

    file: DicomFile
    header: Dataset
    sop_class: str
    series_uid: str

    @property
    def is_image(self) -> bool:
        """Whether it is of a kind that is read: CT, MR and PET, single-frame or enhanced."""
        return self.sop_class in SINGLE_FRAME or self.sop_class in MULTI_FRAME


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The instances of one series, all images of one kind."""

    uid: str
    modality: str
    description: str
    number: float
    instances: tuple[Instance, ...]

    @property
    def title(self) -> str:
        """For messages: what it is, and the UID to choose it by. In the quotes is no other quote, so that where the
        description ends is known."""
        modality, description = re.sub('["()]', "", self.modality), self.description.replace('"', "'")
        return f'series {self.uid} ({modality} "{description}")'

    @property
    def is_multi_frame(self) -> bool:
        """Whether its instances hold many slices each."""
        return self.instances[0].sop_class in MULTI_FRAME

    @property
    def kind(self) -> str:
        """CT, MR or PET."""
        sop_class = self.instances[0].sop_class
        return (SINGLE_FRAME | MULTI_FRAME)[sop_class].split()[-1]

    @property
    def slices(self) -> int:
        """How many slices the headers claim."""
        if not self.is_multi_frame:
            return len(self.instances)
        frames = (text(each.header, "NumberOfFrames", each.file.name) for each in self.instances)
        return sum(int(count) if re.fullmatch(r"\d{1,6}", count) else 0 for count in frames)


def find_series(path: Path, files: Sequence[DicomFile]) -> list[Series]:
    """The image series among the files, by SeriesNumber, then UID. Other DICOM objects and other files are left out.

    Raises InputError for damaged files, files that only their names make DICOM, series of mixed kinds, and no images.
    """
    found = each_file(_read_header, files)
    _check_strays(path, files, found)
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    others: Counter[str] = Counter()
    for instance in filter(None, found):
        if not instance.is_image:
            others[_kind(instance.sop_class)] += 1
        by_uid[instance.series_uid].append(instance)
    groups = {uid: group for uid, group in by_uid.items() if any(each.is_image for each in group)}
    if not groups:
        listed = ", ".join(f"{count} × {kind}" for kind, count in others.most_common(5))
        raise InputError(f"{path}: holds no CT, MR or PET image in DICOM{f' (found {listed})' if listed else ''}")
    return sorted((_series(uid, group) for uid, group in groups.items()), key=lambda each: (each.number, each.uid))


def chosen_series(path: Path, found: Sequence[Series], wanted: Sequence[str]) -> list[Series]:
    """The series with the UIDs `wanted`, in that order; the only one if none is wanted. Raises InputError."""
    listed = "; ".join(f"{each.title[7:]}, {each.slices} slices" for each in found[:_LISTED])
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    if not wanted:
        if len(found) > 1:
            raise InputError(f"{path}: holds {len(found)} series; choose by UID: {listed}{more}", hint="series")
        return list(found)
    if len(set(wanted)) < len(wanted):
        raise InputError(f"{path}: the same series was given twice; expected different ones")
    by_uid = {each.uid: each for each in found}
    for uid in wanted:
        if uid not in by_uid:
            raise InputError(f"{path}: has no series {uid}; expected one of: {listed}{more}")
    return [by_uid[uid] for uid in wanted]


def _read_header(file: DicomFile) -> Instance | None:
    """None for files that are not DICOM."""
    with file.open() as stream:
        if not begins_like_dicom(stream.read(132)):
            return None
        stream.seek(0)
        header = parse(file, stream)
        if file.packed and isinstance(stream, FileStream):
            stream.finish()  # its checksum is that of the whole entry
    header.buffer = header.fileobj_type = None  # they would keep a zip entry's bytes
    said = text(header, "SOPClassUID", file.name)
    sop_class = text(header.file_meta, "MediaStorageSOPClassUID", file.name) or said
    if not sop_class or said not in ("", sop_class):
        # A damaged one must not make an image into something that is left out.
        raise InputError(
            f"{file.name}: does not say what it is (SOPClassUID absent, or not the one of its file meta header): "
            "truncated or damaged; copy it again"
        )
    return Instance(file, header, sop_class, text(header, "SeriesInstanceUID", file.name))


def _check_strays(path: Path, files: Sequence[DicomFile], found: Sequence[Instance | None]) -> None:
    """Raises InputError for a file that is named like the DICOM files beside it, or like DICOM, and is not: a slice
    that was damaged at its start, or not copied, must not simply be missing at the end of the volume."""
    known = {_likeness(file) for file, instance in zip(files, found, strict=True) if instance}
    for file, instance in zip(files, found, strict=True):
        if instance is None and (
            file.name == str(path) or _likeness(file)[1] in _DICOM_SUFFIXES or _likeness(file) in known
        ):
            what = "is empty" if file.size == 0 else "is not DICOM (no DICM at byte 128)"
            raise InputError(f"{file.name}: {what}; copy it again, or move it away if it is no part of the scan")
    if not files:
        raise InputError(f"{path}: holds no files; expected a DICOM series")


def _likeness(file: DicomFile) -> tuple[str, str]:
    """Folder and suffix; numbers are no suffix (UIDs end in them), and files that CDs come with are like no slice."""
    pure = PurePath(file.name)
    suffix = pure.suffix.lower()
    if not suffix and pure.stem.lower() in _NOT_IMAGES:
        suffix = ".text"
    return str(pure.parent), "" if suffix[1:].isdigit() else suffix


def _series(uid: str, group: Iterable[Instance]) -> Series:
    instances = tuple(group)
    kinds = Counter(each.sop_class for each in instances)
    usual, _ = kinds.most_common(1)[0]
    for each in instances:
        if not uid:
            raise InputError(f"{each.file.name}: has no SeriesInstanceUID; expected an image that belongs to a series")
        if each.sop_class != usual:
            raise InputError(
                f"{each.file.name}: is {_kind(each.sop_class)} in a series of {_kind(usual)}; expected objects of one "
                "kind in a series; move it away"
            )
    first = instances[0]
    name = first.file.name
    number = text(first.header, "SeriesNumber", name)
    return Series(
        uid,
        text(first.header, "Modality", name),
        text(first.header, "SeriesDescription", name),
        float(number) if re.fullmatch(r"\d{1,9}", number) else float("inf"),
        instances,
    )


def _kind(sop_class: str) -> str:
    """The SOP class's name in the standard, or the UID where it has none."""
    return str(pydicom.uid.UID(sop_class).name)
