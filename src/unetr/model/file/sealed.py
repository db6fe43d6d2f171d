"""Sealed files: a safetensors file whose metadata hold the SHA-256 of the whole file. Knows arrays and text, no torch.

Layout (https://github.com/huggingface/safetensors): 8 bytes little-endian length of the header, the header (JSON), the
arrays' bytes. Any changed bit, in the header, its padding or the arrays, is refused (see `seal`). Writing and reading
are one pass each, without a copy of the arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from unetr.core.files.atomic import atomic_path
from unetr.core.space.volume import Array
from unetr.core.text.reading import cannot_open, parse_json
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError, MachineError
from unetr.model.file.seal import NO_DIGEST, hashed

_CHUNK = 1 << 22  # small enough that a chunk is still in the cache when it is hashed
_LARGEST_HEADER = 100 * 10**6  # as in other programs that read safetensors
_MOST_AXES = 8
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(text): name for name, text in _DTYPES.items()}


def write_sealed(path: Path, tensors: Mapping[str, ArrayLike], metadata: Mapping[str, str]) -> str:
    """Writes atomically, reads back and verifies; returns the digest.

    tensors: numpy arrays, or torch tensors on the CPU without gradient. metadata: must have "format", the kind of file;
    "format_version" is "1" unless given. Raises MachineError when the
    operating system refuses, ValueError for a dtype that the format has no name for.
    """
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    metadata = {"format_version": "1", **metadata}
    # Wide dtypes first: every array is then aligned to its own item size.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header, offset = _header(names, arrays, metadata)
    digest = hashed(header, NO_DIGEST)

    def verify(temporary: Path) -> None:
        if _digest_of(temporary, len(header), offset) != (digest.hexdigest(), digest.hexdigest()):
            raise MachineError(f"{path}: what was read back is not what was written; check the disk")

    with (
        atomic_path(path, verify, private=False) as temporary,
        temporary.open("wb", buffering=0) as handle,
    ):
        _write(handle, header)
        for name in names:
            flat = np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8)
            for start in range(0, flat.size, _CHUNK):
                chunk = flat[start : start + _CHUNK]
                digest.update(chunk.data)
                _write(handle, chunk)
        handle.seek(offset)
        _write(handle, digest.hexdigest().encode())
    return digest.hexdigest()


@reads_untrusted("a sealed file that unetr wrote")
def read_sealed(
    path: Path, kind: str, version: str = "1", opener: Callable[[str, int], int] | None = None
) -> tuple[dict[str, Array], dict[str, str]]:
    """Reads and verifies a file whose metadata say format = `kind` and format_version = `version`.

    opener: as of Python's `open`. Returns arrays and metadata ("sha256" is the digest). The arrays are writable views
    of one block of memory.
    Raises InputError for anything else, naming the file.
    """
    try:
        with open(path, "rb", buffering=0, opener=opener) as handle:  # Path.open has no opener
            return _read(handle, path, kind, version)
    except OSError as error:
        raise cannot_open(path, error, f"a {kind} file") from None


def _header(names: list[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> tuple[bytes, int]:
    """The length and the header with an empty digest, and where in the file the digest goes."""
    blank = {"sha256": NO_DIGEST}
    entries: dict[str, Any] = {"__metadata__": blank | dict(metadata) | blank}  # first, where the reader finds it
    end = 0
    for name in names:
        array = arrays[name]
        if array.dtype not in _NAMES:
            raise ValueError(f"{name}: {array.dtype} cannot be stored; one of {', '.join(map(str, _NAMES))} can")
        start, end = end, end + array.nbytes
        entries[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    return header, header.index(NO_DIGEST.encode())


def _write(handle: BinaryIO, data: bytes | Array) -> None:
    view = memoryview(data).cast("B")  # type: ignore[arg-type]
    while view:
        view = view[handle.write(view) :]


def _digest_of(path: Path, header_size: int, offset: int) -> tuple[str, str]:
    """The digest that is stored at an offset in the header, and that of the bytes on disk; with a small buffer."""
    with path.open("rb", buffering=0) as handle:
        header = handle.read(header_size)
        end = offset + len(NO_DIGEST)
        stored = header[offset:end].decode("ascii", "replace")
        digest = hashed(header, stored)
        chunk = memoryview(bytearray(_CHUNK))
        while count := handle.readinto(chunk):
            digest.update(chunk[:count])
    return stored, digest.hexdigest()


def _read(handle: BinaryIO, path: Path, kind: str, version: str) -> tuple[dict[str, Array], dict[str, str]]:
    size = os.fstat(handle.fileno()).st_size
    prefix = handle.read(8)
    length = int.from_bytes(prefix, "little")
    if prefix[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
        raise InputError(
            f"{path}: is a pickled PyTorch file, expected a {kind} file (.safetensors); pickles may run "
            "code and are not opened; the weights of other projects have to be converted",
            hint="convert",
        )
    if len(prefix) < 8 or length > size - 8:
        raise InputError(f"{path}: is not a safetensors file or is cut off ({size} bytes); expected a {kind} file")
    if length > _LARGEST_HEADER:
        raise InputError(f"{path}: has a header of {length} bytes; expected at most {_LARGEST_HEADER}")
    raw = handle.read(length)
    entries, metadata = _parse(raw, path, kind)
    found = (metadata.get("format"), metadata.get("format_version"))
    if found[0] != kind:
        what = f"a {found[0]} file" if found[0] else "a safetensors file of another program (no unetr metadata)"
        raise InputError(f"{path}: is {what}, expected a {kind} file")
    if found[1] != version:
        raise InputError(
            f"{path}: {kind} version {found[1]}, this program reads version {version}; use the unetr that wrote it"
        )
    stored = metadata.get("sha256", "")
    digest = hashed(prefix + raw, stored)
    data = _read_hashed(handle, size - 8 - length, digest)
    if digest.hexdigest() != stored:
        raise InputError(
            f"{path}: is damaged or was changed: its SHA-256 does not match; get it again or write it again"
        )
    return _arrays(entries, data, path), metadata


def _parse(raw: bytes, path: Path, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Header -> (array entries, metadata)."""
    try:
        entries = parse_json(raw.decode(), "header")
        metadata = entries.pop("__metadata__", {})
        if all(isinstance(value, str) for value in metadata.values()):
            return entries, metadata
        reason = "its metadata are not text"
    except InputError as error:
        reason = str(error)
    except (UnicodeDecodeError, AttributeError, TypeError):
        reason = "it is no JSON object"
    raise InputError(f"{path}: is not a safetensors file or its header is damaged ({reason}); expected a {kind} file")


def _read_hashed(handle: BinaryIO, size: int, digest: hashlib._Hash) -> Array:
    data = np.empty(size, np.uint8)
    view = data.data
    done = 0
    while done < size:
        count = handle.readinto(view[done : done + _CHUNK])  # type: ignore[attr-defined]
        if not count:
            break  # the file became shorter; the digest will not match
        digest.update(view[done : done + count])
        done += count
    return data


def _arrays(entries: dict[str, Any], data: Array, path: Path) -> dict[str, Array]:
    """Views of `data`; the arrays must cover it without gap or overlap."""
    arrays: dict[str, Array] = {}
    end = 0
    try:
        placed = sorted((_placed(name, entry) for name, entry in entries.items()), key=lambda one: one[2:4])
        for name, dtype, start, stop, shape in placed:
            if start != end:
                raise ValueError(f"array {name[:60]} starts at byte {start} instead of {end}")
            arrays[name] = data[start:stop].view(dtype).reshape(shape)
            end = stop
        if end != data.size:
            raise ValueError(f"{data.size} bytes of arrays, the header lists {end}")
    except ValueError as error:
        raise InputError(f"{path}: its header contradicts its contents: {error}") from None
    return arrays


def _placed(name: str, entry: Any) -> tuple[str, str, int, int, list[int]]:
    """Name, dtype, first and one past the last byte, and shape of an array. Raises ValueError for what is none."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"array {name[:60]} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"array {name[:60]} has a dtype that is none of {', '.join(_DTYPES)}")
    sizes = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else []
    # Not isinstance: true and false are integers, too.
    if len(sizes) != len(shape) + 2 or len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError(f"array {name[:60]} has no shape or no data_offsets; expected lists of whole numbers")
    start, stop = offsets
    expected = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if stop - start != expected:
        raise ValueError(f"array {name[:60]} has {stop - start} bytes; its shape and dtype make {expected}")
    return name, _DTYPES[dtype], start, stop, shape
