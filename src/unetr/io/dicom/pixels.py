"""Voxels of DICOM instances: native ones bit by bit, compressed ones through pydicom's decoders, then rescaled.

Each instance's pixel data is dropped once its slices are in the one array that is filled.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder

from unetr.core.machine.allowance import Claim, admit, admit_scan
from unetr.core.space.volume import Array
from unetr.errors import InputError, MachineError, UnetrError
from unetr.io.dicom.files import THREADS, DicomFile, each_file
from unetr.io.dicom.header import parse
from unetr.io.dicom.series.stack import PixelLayout, Slice, Stack

_NATIVE: dict[str, Literal["<", ">"]] = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.2": ">",
}
_RLE = "1.2.840.10008.1.2.5"
_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ExtendedOffsetTable"),
    *("ExtendedOffsetTableLengths", "PixelData"),
]
# A JPEG codestream of any kind ends so; one that was cut off does not, and some decoders fill up the rest.
_END_OF_CODESTREAM = b"\xff\xd9"
_START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"
# SOF markers of JPEG (without DHT, JPG and DAC, which lie between them) and JPEG-LS.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# For each pixel of a frame that is decoded: the decoder's integers, the result, and float64 numbers.
_DECODED_BYTES = 24
# The most that run-length encoding makes of a byte.
_MOST_RLE = 64
_INTEGERS = (np.int16, np.int32)


class _DoesNotFitError(Exception):
    """Rescaled numbers are beyond the integer type that was tried."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One file's slices of one channel and where they go. place: frame -> index along Z."""

    file: DicomFile
    channel: int
    place: Mapping[int, tuple[int, Slice]]


def read_pixels(path: Path, stacks: Sequence[Stack]) -> Array:
    """Stacks of one shape as [C, X, Y, Z]: column, row, slice; X is the fastest in memory.

    The stored integers where nothing is rescaled; int16 (int32 where the numbers need it) for slope 1 and whole
    intercepts; float32 otherwise. Raises InputError for damaged pixel data, and for more of it than fits in memory, and
    MachineError for a missing decoder. path: what was opened, for errors.
    """
    jobs = [job for channel, stack in enumerate(stacks) for job in _jobs(channel, stack)]
    for job in jobs:
        _check_size(job)
    columns, rows, slices = stacks[0].shape
    for dtype in _candidates([each for stack in stacks for each in stack.slices]):
        claim = Claim((columns, rows, slices), len(stacks), dtype, False, stacks[0].affine, _beside_bytes(jobs))
        admit_scan(path, claim)
        data: Array = np.empty((len(stacks), slices, rows, columns), dtype)
        try:
            each_file(lambda job, data=data: _fill(job, data), jobs)  # type: ignore[misc]
        except _DoesNotFitError:
            del data  # before the next one is made
            continue
        for stack, channel in zip(stacks, data, strict=True):
            if stack.turned_over:
                _turn_over(channel)
        return data.transpose(0, 3, 2, 1)
    raise InputError(f"{stacks[0].slices[0].name}: its rescaled numbers do not fit in float32; correct the file")


def _turn_over(channel: Array) -> None:
    """Exchanges dark and bright in place, within the range that there is: integers may wrap around and come back."""
    low, high = channel.min(), channel.max()
    for plane in channel:
        np.subtract(high, plane, out=plane)
        plane += low


def _jobs(channel: int, stack: Stack) -> list[_Job]:
    places: dict[str, dict[int, tuple[int, Slice]]] = defaultdict(dict)
    files: dict[str, DicomFile] = {}
    for z, each in enumerate(stack.slices):
        places[each.file.name][each.frame] = (z, each)
        files[each.file.name] = each.file
    return [_Job(files[name], channel, place) for name, place in places.items()]


def _check_size(job: _Job) -> None:
    """A claim that the file cannot hold is refused before memory is taken for it."""
    layout = next(iter(job.place.values()))[1].layout
    pixels = layout.rows * layout.columns * len(job.place)
    # The best of the codecs store black images in about a byte per 10000 pixels.
    if pixels > 20_000 * job.file.size:
        raise InputError(
            f"{job.file.name}: claims {pixels} pixels in a file of {job.file.size} bytes: truncated or damaged; "
            "copy it again"
        )


def _beside_bytes(jobs: Sequence[_Job]) -> int:
    """What the files at work take at a time: pixel data as stored, cut to frames, decoded, and rescaled in float64."""
    stored = sorted((2 * job.file.size for job in jobs), reverse=True)[:THREADS]
    pixels = max(each.layout.rows * each.layout.columns for job in jobs for _, each in job.place.values())
    return sum(stored) + len(stored) * _DECODED_BYTES * pixels


def _candidates(slices: Sequence[Slice]) -> list[np.dtype[Any]]:
    """The number types to try, in this order."""
    stored = np.result_type(*{_stored_type(each.layout) for each in slices})
    rescales = {each.rescale.line for each in slices}
    if rescales == {(1.0, 0.0)}:
        return [stored if stored.kind in "iu" and stored.itemsize <= 4 else np.dtype(np.float32)]
    if all(slope == 1 and intercept == int(intercept) for slope, intercept in rescales):
        return [*map(np.dtype, _INTEGERS), np.dtype(np.float32)]
    return [np.dtype(np.float32)]


def _stored_type(layout: PixelLayout) -> np.dtype[Any]:
    return np.dtype(f"{'i' if layout.signed else 'u'}{layout.allocated // 8}")


def _fill(job: _Job, data: Array) -> None:
    """Puts a file's frames into data [C, Z, rows, columns]."""
    with job.file.open() as stream:
        dataset = parse(job.file, stream, _TAGS)
    dataset.buffer = None
    layout = next(iter(job.place.values()))[1].layout
    frames = _frames(job.file, dataset, layout, len(job.place))
    for index, frame in enumerate(frames):
        z, each = job.place[index]
        data[job.channel, z] = _rescaled(frame, each, data.dtype)


def _rescaled(frame: Array, each: Slice, dtype: np.dtype[Any]) -> Array:
    slope, intercept = each.rescale.line
    if (slope, intercept) == (1.0, 0.0) and np.can_cast(frame.dtype, dtype):
        return frame
    with np.errstate(over="ignore"):
        values: Array = frame.astype(np.float64) * slope + intercept
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    if values.min() < limits.min or values.max() > limits.max:
        raise _DoesNotFitError
    return values


def _frames(file: DicomFile, dataset: FileDataset, layout: PixelLayout, count: int) -> Iterator[Array]:
    """`count` frames [rows, columns] of stored numbers."""
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
    dtype = _stored_type(layout).newbyteorder(order)
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
    except (MemoryError, UnetrError, _DoesNotFitError):
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
