"""An object as another system keeps it: by which UIDs it is found there, and whether what is there is the same.

A PACS keeps the dataset, not the file. It writes the file's meta header anew, and may store another transfer syntax,
lengths where there were delimiters, or spaces where there were zeros. So two objects are compared by a digest of what
their elements say, and not of their bytes.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import DeflatedExplicitVRLittleEndian

from unetr.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement

# Their bytes are numbers: nothing at their end is padding.
_NUMBERS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"}
_META_GROUP = 0x0002
_PADDING_TAG = 0xFFFCFFFC
_IMPLICIT_HEADER = 8
_DEEPEST = 32
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectIdentity:
    """The UIDs of one object, and the transfer syntax that its file is in."""

    sop_class: str
    instance: str
    study: str
    series: str
    transfer_syntax: str


def identity_of(path: Path) -> ObjectIdentity:
    """Reads the UIDs of a DICOM file, no more. Raises InputError where it has not all of them."""
    try:
        dataset = pydicom.dcmread(path, specific_tags=list(_UIDS), stop_before_pixels=True)
        sop_class, instance, study, series = (str(dataset[keyword].value) for keyword in _UIDS)
        syntax = str(dataset.file_meta.TransferSyntaxUID)
    except Exception as error:
        if _is_of_the_machine(error):
            raise
        raise InputError(
            f"{path.name}: is no DICOM object with all of its UIDs ({type(error).__name__}); expected a result"
        ) from error
    return ObjectIdentity(sop_class=sop_class, instance=instance, study=study, series=series, transfer_syntax=syntax)


def content_digest(source: Path | BinaryIO) -> str:
    """SHA-256, as hexadecimal, of the tags and values of a DICOM file, whatever way its dataset is encoded.

    Takes the memory of the file. Compressed and uncompressed pixels are different values. Raises InputError for what is
    no complete DICOM file.
    """
    stream = io.BytesIO(source.read_bytes()) if isinstance(source, Path) else source
    try:
        dataset = pydicom.dcmread(stream)
        if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian or not dataset.original_encoding[1]:
            raise ValueError("deflated or big endian")
        digest = hashlib.sha256()
        _add(digest, dataset, 0)
    except Exception as error:
        if _is_of_the_machine(error):
            raise
        raise InputError(f"what came is no DICOM object that can be read whole ({type(error).__name__})") from error
    return digest.hexdigest()


def instance_query(identity: ObjectIdentity) -> Dataset:
    """The identifier of a C-FIND or C-GET for one instance, of the study root."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = identity.study
    query.SeriesInstanceUID = identity.series
    query.SOPInstanceUID = identity.instance
    return query


def _is_of_the_machine(error: Exception) -> bool:
    """pydicom raises an OSError of its own, without a number, where a file ends too early."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


def _add(digest: Any, dataset: Dataset, depth: int) -> None:
    """Adds tag, length and value of each element; of sequences, their items between counts."""
    if depth > _DEEPEST:
        raise ValueError("sequences are nested without end")
    for tag in sorted(dataset.keys()):
        if tag.element == 0 or tag.group == _META_GROUP or int(tag) == _PADDING_TAG:  # lengths, which may be left out
            continue
        element: Any = dataset.get_item(tag)
        vr = _vr(element)
        digest.update(int(tag).to_bytes(4, "big"))
        if vr == "SQ":
            items = list(dataset[tag].value)
            digest.update(b"SQ" + len(items).to_bytes(8, "big"))
            for item in items:
                _add(digest, item, depth + 1)
            digest.update(b"END")
            continue
        content = _content(element)
        if vr not in _NUMBERS:
            content = content.rstrip(b"\0 ")
        digest.update(len(content).to_bytes(8, "big") + content)


def _vr(element: DataElement | RawDataElement) -> str:
    """What the standard says, where it knows the tag: implicit files name none, and long values become unknown."""
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return str(element.VR or "UN")
    return known.split()[0]  # "US or SS": which of them makes no difference here


def _content(element: DataElement | RawDataElement) -> bytes:
    """The value's bytes. What pydicom decodes for itself, as character sets and signs, is encoded again."""
    if element.value is None or isinstance(element.value, bytes):
        return element.value or b""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_data_element(stream, element)
    return stream.getvalue()[_IMPLICIT_HEADER:]
