"""A segmentation as a file: a volume in any of the formats, or a DICOM result that refers to the scan's series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unetr.core.space.volume import Volume
from unetr.core.version import __version__
from unetr.errors import InputError
from unetr.io.scan import write_volume

DICOM_SUFFIX = ".dcm"


@dataclass(frozen=True, slots=True)
class ResultFormat:
    """A form of result. ending: of its file's name, empty for volumes, whose suffixes FORMATS has.

    write: takes the path, labels [1, X, Y, Z], the name of what made them and the identity that UIDs follow from, ""
    for the labels themselves. Atomic and verified.
    """

    ending: str
    write: Callable[[Path, Volume, str, str], None]


def _write_volume(path: Path, labels: Volume, model: str, identity: str) -> None:
    write_volume(path, labels)


def _write_dicom_seg(path: Path, labels: Volume, model: str, identity: str) -> None:
    from unetr.io.dicom.results.seg import write_dicom_seg

    write_dicom_seg(path, labels, algorithm=f"unetr {model}", algorithm_version=__version__, identity=identity)


def _write_rtstruct(path: Path, labels: Volume, model: str, identity: str) -> None:
    from unetr.io.dicom.results.rtstruct import write_rtstruct

    write_rtstruct(path, labels, algorithm=f"unetr {model}", algorithm_version=__version__, identity=identity)


RESULT_FORMATS = {
    "nifti": ResultFormat("", _write_volume),
    "dicom-seg": ResultFormat(".seg.dcm", _write_dicom_seg),
    "rtstruct": ResultFormat(".rtstruct.dcm", _write_rtstruct),
}


def known_result_format(name: str) -> str:
    """The name, if it is one of RESULT_FORMATS. Raises InputError."""
    if name not in RESULT_FORMATS:
        raise InputError(f"format {name}: is unknown; expected one of {', '.join(RESULT_FORMATS)}")
    return name


def result_format_of(path: Path) -> str:
    """The format that the name's end says. Raises InputError for a .dcm that does not say what it is."""
    name = path.name.lower()
    for name_of_format, form in RESULT_FORMATS.items():
        if form.ending and name.endswith(form.ending):
            return name_of_format
    if name.endswith(DICOM_SUFFIX):
        ends = " or ".join(form.ending for form in RESULT_FORMATS.values() if form.ending)
        raise InputError(f"{path}: does not say which kind of DICOM it is; expected a name ending in {ends}")
    return "nifti"


def write_result(path: Path, labels: Volume, result_format: str | None, model: str, identity: str = "") -> None:
    """Writes labels [1, X, Y, Z] atomically and verified. model: the name of what made them, for DICOM.

    result_format: a key of RESULT_FORMATS, None for what the name's end says; the end also chooses among the formats of
    volumes. identity: what the UIDs of a DICOM result follow from, such as a job's key; "" for source and labels. Two
    results of one identity and format are one object to a PACS.
    Raises InputError for a format that does not fit the labels or the name, MachineError where the machine refuses.
    """
    chosen = result_format_of(path) if result_format is None else known_result_format(result_format)
    RESULT_FORMATS[chosen].write(path, labels, model, identity)
