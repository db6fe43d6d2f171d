"""Voxels as files store them: number types, byte order and the order of axes. Knows no file format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from unetr.core.space.volume import Array, Volume
from unetr.errors import InputError

_INTEGERS = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
AXES = "X, Y and Z and at most one further axis of channels"


def volume_sizes(path: Path, sizes: Sequence[int]) -> tuple[int, int, int, int]:
    """Sizes X, Y, Z, C from a header's sizes, spatial axes first; of the further axes those of size 1 are dropped.

    Raises InputError for what is not a volume: sizes that are not positive, 2D, two axes of channels.
    """
    found = "×".join(str(size) for size in sizes)
    if any(size < 1 for size in sizes):
        raise InputError(f"{path}: its size is {found}; expected positive numbers")
    if len(sizes) < 3 or min(sizes[:3]) < 2:
        raise InputError(f"{path}: is 2D ({found} voxels); expected a 3D scan with at least 2 voxels along each axis")
    channels = [size for size in sizes[3:] if size > 1]
    if len(channels) > 1:
        raise InputError(f"{path}: has {len(sizes)} axes ({found}); expected {AXES}")
    return sizes[0], sizes[1], sizes[2], channels[0] if channels else 1


def array_from_bytes(buffer: bytearray, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    """The buffer as an array, first axis fastest, in this machine's byte order; shares the buffer's memory."""
    array: Array = np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F")
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
    return array


def channels_from_bytes(
    buffer: bytearray, dtype: np.dtype[np.generic], sizes: tuple[int, int, int, int], interleaved: bool
) -> Array:
    """The buffer as [C, X, Y, Z]. sizes: X, Y, Z, C. interleaved: the channels of a voxel lie together."""
    if interleaved:
        return array_from_bytes(buffer, dtype, (sizes[3], *sizes[:3]))
    return np.moveaxis(array_from_bytes(buffer, dtype, sizes), 3, 0)


def smallest_integer(low: int, high: int) -> np.dtype[np.generic]:
    """The first of uint8, int16, uint16, int32, uint32, int64, uint64 that holds both numbers."""
    for integer in _INTEGERS:
        if np.iinfo(integer).min <= low and high <= np.iinfo(integer).max:
            return np.dtype(integer)
    raise OverflowError(f"no integer type holds {low} and {high}")


def storable(volume: Volume, path: Path) -> Volume:
    """The volume in a number type that every reader knows.

    bool becomes uint8, 64-bit integers the smallest type that holds them, floats float32; other integers stay.
    Raises InputError where float32 cannot hold the values, which includes NaN and infinity.
    """
    data = volume.data
    target: DTypeLike = data.dtype
    if data.dtype.kind == "b":
        target = np.uint8
    elif data.dtype.kind in "iu" and data.dtype.itemsize == 8:
        target = smallest_integer(int(data.min()), int(data.max()))
    elif data.dtype.kind == "f":
        target = np.float32
    elif data.dtype.kind not in "iu":
        raise InputError(f"{path}: cannot be written: its voxels are {data.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        data = data.astype(np.dtype(target).newbyteorder("="), copy=False)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        bad = data.size - np.count_nonzero(np.isfinite(data))
        raise InputError(f"{path}: cannot be written: {bad} voxels are NaN, infinite or beyond float32")
    return volume.with_data(data)


def channel_pieces(data: Array) -> Iterator[bytes]:
    """Data [C, X, Y, Z] as little-endian bytes, X fastest and channels slowest, one slice at a time."""
    little = data.dtype.newbyteorder("<")
    for channel in data:
        for z in range(channel.shape[2]):
            yield channel[:, :, z].astype(little, copy=False).tobytes(order="F")


def interleaved_pieces(data: Array) -> Iterator[bytes]:
    """Data [C, X, Y, Z] as little-endian bytes, channels fastest and Z slowest, one slice at a time."""
    little = data.dtype.newbyteorder("<")
    for z in range(data.shape[3]):
        yield data[..., z].astype(little, copy=False).tobytes(order="F")
