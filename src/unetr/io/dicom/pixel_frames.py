"""The frames of a DICOM file as stored numbers: native ones bit by bit, compressed ones through pydicom's decoders."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder

from unetr.core.machine.allowance import admit
from unetr.core.space.volume import Array
from unetr.errors import InputError, MachineError, UnetrError
from unetr.io.dicom.files import DicomFile
from unetr.io.dicom.series.slice import PixelLayout

_NATIVE: dict[str, Literal["<", ">"]] = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.2": ">",
}
_RLE = "1.2.840.10008.1.2.5"
# A JPEG codestream of any kind ends so; one that was cut off does not, and some decoders fill up the rest.
_END_OF_CODESTREAM = b"\xff\xd9"
_START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"
# SOF markers of JPEG (without DHT, JPG and DAC, which lie between them) and JPEG-LS.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# The most that run-length encoding makes of a byte.
_MOST_RLE = 64


def stored_type(layout: PixelLayout) -> np.dtype[Any]:
    """The number type of the pixel data."""
    return np.dtype(f"{'i' if layout.signed else 'u'}{layout.allocated // 8}")


def stored_frames(file: DicomFile, dataset: FileDataset, layout: PixelLayout, count: int) -> Iterator[Array]:
    """`count` frames [rows, columns] of stored numbers.

    Raises InputError for damaged pixel data, and MachineError for a missing decoder.
    """
    try:
        pixels = dataset.get("PixelData")
        syntax = str(dataset.file_meta.TransferSyntaxUID)
    except MemoryError:
        raise
    except Exception as error:
        raise _undecodable(file, error) from error
    if not isinstance(pixels, bytes) or not pixels:
        raise InputError(f"{file.name}: has no pixel data: truncated or damaged; copy it again")
    if syntax in _NATIVE:
        return _native(file, pixels, layout, count, _NATIVE[syntax])
    return _compressed(file, dataset, layout, count, syntax)


def _native(
    file: DicomFile, pixels: bytes, layout: PixelLayout, count: int, order: Literal["<", ">"]
) -> Iterator[Array]:
    size = layout.rows * layout.columns * layout.allocated // 8
    expected = size * count
    if not _is_padded(pixels, expected, layout):
        raise InputError(
            f"{file.name}: has {len(pixels)} bytes of pixel data; expected {expected} for {count} × "
            f"{layout.columns}×{layout.rows} pixels of {layout.allocated} bits: truncated or damaged; copy it again"
        )
    if order == ">" and layout.allocated == 8:
        raise InputError(
            f"{file.name}: has 8-bit pixels in the big-endian transfer syntax; convert it to little endian"
        )
    dtype = stored_type(layout).newbyteorder(order)
    for index in range(count):
        frame = np.frombuffer(pixels, dtype, size // dtype.itemsize, index * size)
        frame = frame.astype(dtype.newbyteorder("="), copy=False)
        used = _used_bits(frame, layout)
        if layout.bare and not np.array_equal(used, frame):
            raise InputError(
                f"{file.name}: says that it uses {layout.stored} bits, fewer than other slices, and uses more; "
                "correct its BitsStored"
            )
        yield used.reshape(layout.rows, layout.columns)


def _is_padded(pixels: bytes, expected: int, layout: PixelLayout) -> bool:
    """Whether the bytes hold what is expected, and nothing after it but padding (DICOM PS3.5, 8.1.1).

    Padding is less than a frame, and one value over and over or shorter than a row and a column: more could be pixels
    of an image that is larger than its header says.
    """
    excess = len(pixels) - expected
    pixel = layout.allocated // 8
    if excess <= 0 or excess >= layout.rows * layout.columns * pixel:
        return excess == 0
    rest = pixels[expected:]
    return excess < min(layout.rows, layout.columns) * pixel or rest.count(rest[0]) == excess


def _used_bits(frame: Array, layout: PixelLayout) -> Array:
    """Only the bits from `high` down, the sign spread; the others may hold anything, overlays in old files."""
    if layout.stored == layout.allocated:
        return frame
    return (frame << (layout.allocated - layout.high - 1)) >> (layout.allocated - layout.stored)


def _compressed(file: DicomFile, dataset: FileDataset, layout: PixelLayout, count: int, syntax: str) -> Iterator[Array]:
    decoder = _decoder(file, syntax)
    if layout.high != layout.stored - 1:
        raise InputError(
            f"{file.name}: uses bits up to {layout.high} in compressed pixels; expected {layout.stored - 1}"
        )
    done = 0
    try:
        encoded = list(
            pydicom.encaps.generate_frames(
                dataset.PixelData, number_of_frames=count, extended_offsets=_extended_offsets(dataset)
            )
        )
        if syntax == _RLE and encoded:
            # What it unpacks to is known only when it has been unpacked.
            admit(file.name, _MOST_RLE * max(map(len, encoded)), "to unpack a frame")
        whole = [syntax == _RLE or _is_whole(each, layout) for each in encoded]
        if len(encoded) == count and all(whole):
            for frame, _ in islice(decoder.iter_array(dataset, raw=True), count + 1):
                if frame.shape != (layout.rows, layout.columns) or frame.dtype.kind not in "iu":
                    break
                done += 1
                yield frame
    except (MemoryError, UnetrError):
        raise
    except Exception as error:
        raise _undecodable(file, error) from error
    if done != count or len(encoded) != count:
        raise InputError(
            f"{file.name}: has {done} whole compressed frames of {layout.columns}×{layout.rows} pixels; expected "
            f"{count}: truncated or damaged; copy it again"
        )


def _is_whole(encoded: bytes, layout: PixelLayout) -> bool:
    """Whether a JPEG codestream of any kind ends as it should and is of the size that the header says.

    Decoders check neither: some fill up what is missing, and 64×32 pixels fit where 32×64 are expected.
    """
    if _END_OF_CODESTREAM not in encoded.rstrip(b"\0")[-10:]:  # some writers pad
        return False
    start = encoded.find(_START_OF_JPEG_2000)
    if start >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", encoded, start + 8)
        components = struct.unpack_from(">H", encoded, start + 40)[0]
        return (bottom - top, right - left, components) == (layout.rows, layout.columns, 1)
    at = 2
    while encoded[at] == 0xFF:  # segment after segment until the one of the frame, SOF
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4])
        if marker in _START_OF_FRAME:
            return struct.unpack_from(">2HB", encoded, at + 5) == (layout.rows, layout.columns, 1)
        at += 2 + length if marker != 0xFF else 1
    return False


def _extended_offsets(dataset: FileDataset) -> tuple[bytes, bytes] | None:
    table, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return (table, lengths) if table and lengths else None


def _decoder(file: DicomFile, syntax: str) -> Any:
    """pydicom's decoder. Raises InputError for a transfer syntax without one, MachineError if it is not installed."""
    name = pydicom.uid.UID(syntax).name
    try:
        decoder = get_decoder(pydicom.uid.UID(syntax))
    except NotImplementedError:
        raise InputError(f"{file.name}: its transfer syntax {name} is not one that is read; convert it") from None
    if not decoder.is_available:
        raise MachineError(f"{file.name}: no decoder for its compression ({name}); run: pip install 'unetr[dicom]'")
    return decoder


def _undecodable(file: DicomFile, error: Exception) -> InputError:
    return InputError(f"{file.name}: its pixel data cannot be decoded ({type(error).__name__}); copy it again")
