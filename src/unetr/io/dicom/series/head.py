"""The first attributes of a DICOM file that somebody sent: what it is, where it belongs, and what rules ask for.

Reads no further than these attributes, within a limit of bytes, and no pixels. What is read of people is not kept.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag

from unetr.errors import InputError, UnetrError
from unetr.io.dicom.files import FileStream, has_magic
from unetr.io.dicom.header import text
from unetr.io.dicom.series.instances import MULTI_FRAME, SINGLE_FRAME

# The classes of images that are read.
IMAGE_CLASSES = frozenset(SINGLE_FRAME | MULTI_FRAME)
# Other values before the series' UID are short; no header that long was ever seen before it.
_MOST_BYTES = 4 << 20
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_HEAD = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_HEAD_ENDS = Tag("SeriesInstanceUID")
_TRAITS = (
    *("Modality", "Manufacturer", "ManufacturerModelName", "StationName", "StudyDescription", "SeriesDescription"),
    *("ProtocolName", "BodyPartExamined", "ContrastBolusAgent", "ImageType", "SequenceName", "SOPClassUID"),
    *("SliceThickness", "NumberOfFrames", "Rows", "Columns"),
)
_TRAITS_END = Tag("Columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a file is. sop_class, instance, study, series: UIDs. starts: where its data set begins, in bytes."""

    sop_class: str
    instance: str
    study: str
    series: str
    transfer_syntax: str
    starts: int

    @property
    def is_image(self) -> bool:
        """Whether it is of a kind that is read: CT, MR and PET, single-frame or enhanced."""
        return self.sop_class in IMAGE_CLASSES


def read_head(path: Path) -> Head:
    """What a DICOM file with a file meta header says that it is.

    Raises InputError for what is no such file, and for UIDs that are missing or are none.
    """
    dataset, starts = _read(path, _HEAD, _HEAD_ENDS)
    sop_class, instance, study, series = (_uid(text(dataset, keyword, path.name), keyword) for keyword in _HEAD)
    syntax = _uid(text(dataset.file_meta, "TransferSyntaxUID", path.name), "TransferSyntaxUID")
    return Head(
        sop_class=sop_class, instance=instance, study=study, series=series, transfer_syntax=syntax, starts=starts
    )


def read_traits(path: Path) -> Mapping[str, str]:
    """DICOM keyword -> text of what rules ask for, such as Modality; absent ones are left out. Raises InputError.

    A description is free text, in which somebody may have written a name: it is for comparing, not for keeping.
    """
    dataset, _ = _read(path, _TRAITS, _TRAITS_END)
    found = {keyword: text(dataset, keyword, path.name) for keyword in _TRAITS}
    return {keyword: value for keyword, value in found.items() if value}


def _read(path: Path, keywords: Sequence[str], last: BaseTag) -> tuple[FileDataset, int]:
    # Warnings repeat values. The filter stays: taking it back is not safe while other threads read.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        with FileStream(path.name, min(path.stat().st_size, _MOST_BYTES), _Bounded(path)) as stream:
            if not has_magic(stream.read(132)):
                raise InputError(f"{path.name}: is not a DICOM file; expected DICM at byte 128")
            pydicom.filereader.read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
            starts = stream.tell()
            stream.seek(0)
            dataset = pydicom.filereader.read_partial(stream, _after(last), specific_tags=list(map(Tag, keywords)))
    except UnetrError:
        raise
    except Exception as error:
        raise InputError(
            f"{path.name}: its first attributes cannot be read ({type(error).__name__}); send it again"
        ) from error
    return dataset, starts


def _after(last: BaseTag) -> Callable[..., bool]:
    def stops(tag: BaseTag, *_: Any) -> bool:
        return int(tag) > int(last)

    return stops


class _Bounded(io.FileIO):
    """The first bytes of a file, as if it ended there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)

    def readinto(self, buffer: Any, /) -> int:
        left = max(_MOST_BYTES - self.tell(), 0)
        return super().readinto(memoryview(buffer)[:left]) or 0


def _uid(found: str, keyword: str) -> str:
    if len(found) > _LONGEST_UID or not _UID.fullmatch(found):
        raise InputError(f"its {keyword} is missing or is no UID; expected digits and points; send it again")
    return found
