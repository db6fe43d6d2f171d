"""Values from DICOM headers that are not trusted: of the type and number expected, or an InputError naming the file.

pydicom converts values when they are looked at, so any access may raise anything; nothing here repeats a value in a
message that could be a person's.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset

from unetr.core.machine.allowance import admit
from unetr.errors import InputError, UnetrError
from unetr.io.dicom.files import DicomFile, has_magic

if TYPE_CHECKING:
    from typing import BinaryIO

_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNDEFINED = 0xFFFFFFFF
# Of files without preamble and file meta header, by what their data set turns out to be: implicit, little endian.
_UNPACKED: dict[object, pydicom.uid.UID] = {
    (True, True): pydicom.uid.ImplicitVRLittleEndian,
    (False, True): pydicom.uid.ExplicitVRLittleEndian,
    (False, False): pydicom.uid.ExplicitVRBigEndian,
}
_MOST_TEXT = 64
# Values that stay bytes; others become objects, an item of 8 bytes one of 700, a number of 2 bytes one of 200.
_BYTES = ("OB", "OW", "UN")
_LARGE_VALUE = 100_000
_OBJECT_COST = 100


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence about how a scan was read, for people; found against expected.

    doubt: the scan may be incomplete or not what it seems, which `--strict` refuses. missing: the doubt is whether all
    of its slices are there, so that more of them would end it.
    """

    text: str
    doubt: bool = True
    missing: bool = False


def parse(file: DicomFile, stream: BinaryIO, tags: list[str] | None = None) -> FileDataset:
    """The dataset in a stream: all of its header, or only `tags`, which may name the pixel data. Raises InputError."""
    # Warnings repeat values. The filter stays: taking it back is not safe while other threads read.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        bare = not has_magic(stream.read(132))
        stream.seek(0)
        pydicom.filereader.read_preamble(stream, force=bare)
        meta = pydicom.filereader.read_dataset(
            stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2
        )
        syntax = str(meta.get("TransferSyntaxUID", ""))
    except (MemoryError, UnetrError):
        raise
    except Exception as error:
        raise InputError(
            f"{file.name}: is not a readable DICOM file ({type(error).__name__}); copy it again"
        ) from error
    if not syntax and not bare:
        raise InputError(f"{file.name}: names no transfer syntax; expected a DICOM file with complete file meta header")
    if syntax == _DEFLATED:
        raise InputError(f"{file.name}: is a deflated dataset, which is not read; convert it to an uncompressed one")
    try:
        stream.seek(0)
        dataset = pydicom.dcmread(
            stream, stop_before_pixels=tags is None, specific_tags=list(tags) if tags else None, force=bare
        )
        if not syntax:
            dataset.file_meta.TransferSyntaxUID = _UNPACKED[dataset.original_encoding]
        cut = any(map(_is_cut, dataset.elements()))
    except (MemoryError, UnetrError):
        raise
    except Exception as error:
        raise InputError(f"{file.name}: its header is damaged ({type(error).__name__}); copy it again") from error
    if cut and tags is None:
        raise InputError(f"{file.name}: ends within its header: truncated; copy it again")
    return dataset


def _is_cut(element: object) -> bool:
    """Whether the file ended before the value did, which pydicom does not mind."""
    return (
        isinstance(element, RawDataElement)
        and element.value is not None
        and element.length != _UNDEFINED
        and len(element.value) < element.length
    )


def value(dataset: Dataset, keyword: str, name: str) -> object:
    """The attribute's value, None where it is absent or empty. name: the file, for messages."""
    try:
        _admit_value(dataset, keyword, name)
        found = dataset.get(keyword)
        if found is None or (isinstance(found, Iterable) and not list(found)):
            return None
    except (MemoryError, UnetrError):
        raise
    except Exception as error:
        raise InputError(f"{name}: its {keyword} is damaged ({type(error).__name__}); correct or copy it") from error
    return found


def _admit_value(dataset: Dataset, keyword: str, name: str) -> None:
    """Asks for what a large value becomes when it is looked at: each number and each item of it is an object."""
    element = dataset.get_item(keyword) if keyword in dataset else None
    if isinstance(element, RawDataElement) and element.value is not None and element.VR not in _BYTES:
        size = len(element.value)
        if size > _LARGE_VALUE:
            admit(name, _OBJECT_COST * size, f"for its {keyword}")


def numbers_of(dataset: Dataset, keyword: str, count: int, name: str) -> tuple[float, ...] | None:
    """`count` finite numbers, None where the attribute is absent. Raises InputError for anything else."""
    found = value(dataset, keyword, name)
    if found is None:
        return None
    items = list(found) if isinstance(found, Iterable) and not isinstance(found, str | bytes) else [found]
    real = [float(item) for item in items if isinstance(item, numbers.Real) and not isinstance(item, bool)]
    if len(items) != count or len(real) != count or not all(map(math.isfinite, real)):
        what = "1 finite number" if count == 1 else f"{count} finite numbers"
        raise InputError(f"{name}: its {keyword} is not {what}; correct the file")
    return tuple(real)


def needed_numbers(dataset: Dataset, keyword: str, count: int, name: str) -> tuple[float, ...]:
    """As `numbers_of`; absent is an InputError too."""
    found = numbers_of(dataset, keyword, count, name)
    if found is None:
        raise InputError(f"{name}: has no {keyword}; expected an image whose place in the patient is known")
    return found


def printed_steps(dataset: Dataset, keyword: str, name: str) -> tuple[float, ...]:
    """Of each of the attribute's numbers the unit of the last digit that it is printed with: 0.1 for 30.0, 1 for 30.

    0 for numbers that are not text, which are exact.
    """
    found = value(dataset, keyword, name)
    listed = list(found) if isinstance(found, Iterable) and not isinstance(found, str) else [found]
    steps = []
    for each in listed:
        try:
            exponent = Decimal(str(getattr(each, "original_string", "")).strip()).as_tuple().exponent
        except InvalidOperation:
            exponent = -99
        steps.append(10.0 ** min(exponent, 0) if isinstance(exponent, int) else 0.0)
    return tuple(steps)


def needed_integer(dataset: Dataset, keyword: str, name: str) -> int:
    """One whole number. Raises InputError."""
    found = numbers_of(dataset, keyword, 1, name)
    if found is None:
        raise InputError(f"{name}: has no {keyword}; expected a complete image")
    if found[0] != int(found[0]):
        raise InputError(f"{name}: its {keyword} is {found[0]:g}; expected a whole number")
    return int(found[0])


def text(dataset: Dataset, keyword: str, name: str) -> str:
    """The attribute as one printable line of at most 64 characters, empty where it is absent."""
    found = value(dataset, keyword, name)
    if found is None:
        return ""
    whole = "\\".join(map(str, found)) if isinstance(found, Iterable) and not isinstance(found, str) else str(found)
    return "".join(letter if letter.isprintable() else "?" for letter in whole.strip())[:_MOST_TEXT]


def items(dataset: Dataset, keyword: str, name: str) -> list[Dataset]:
    """A sequence's items, none where it is absent. Raises InputError where the attribute is no sequence."""
    found = value(dataset, keyword, name)
    if found is None:
        return []
    listed = list(found) if isinstance(found, Iterable) else [found]
    datasets = [item for item in listed if isinstance(item, Dataset)]
    if len(datasets) != len(listed):
        raise InputError(f"{name}: its {keyword} is not a sequence; correct the file")
    return datasets
