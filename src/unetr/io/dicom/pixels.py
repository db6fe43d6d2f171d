"""Voxels of DICOM instances: each frame's stored numbers, rescaled, at its place in one array.

Each instance's pixel data is dropped once its slices are in the one array that is filled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr.core.machine.allowance import Claim, admit_scan
from unetr.core.space.volume import Array
from unetr.errors import InputError
from unetr.io.dicom.files import THREADS, DicomFile, each_file
from unetr.io.dicom.header import parse
from unetr.io.dicom.pixel_frames import stored_frames, stored_type
from unetr.io.dicom.series.stack import Slice, Stack

_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ExtendedOffsetTable"),
    *("ExtendedOffsetTableLengths", "PixelData"),
]
# For each pixel of a frame that is decoded: the decoder's integers, the result, and float64 numbers.
_DECODED_BYTES = 24
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
    stored = np.result_type(*{stored_type(each.layout) for each in slices})
    rescales = {each.rescale.line for each in slices}
    if rescales == {(1.0, 0.0)}:
        return [stored if stored.kind in "iu" and stored.itemsize <= 4 else np.dtype(np.float32)]
    if all(slope == 1 and intercept == int(intercept) for slope, intercept in rescales):
        return [*map(np.dtype, _INTEGERS), np.dtype(np.float32)]
    return [np.dtype(np.float32)]


def _fill(job: _Job, data: Array) -> None:
    """Puts a file's frames into data [C, Z, rows, columns]."""
    with job.file.open() as stream:
        dataset = parse(job.file, stream, _TAGS)
    dataset.buffer = None
    layout = next(iter(job.place.values()))[1].layout
    frames = stored_frames(job.file, dataset, layout, len(job.place))
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
