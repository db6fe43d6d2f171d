"""NRRD with its voxels in the same file, raw or gzipped (teem.sourceforge.net/nrrd/format.html).

Decodes the verified bytes itself, so that what was checked is what is used. Refuses detached data files, other
encodings, and axes of a kind that is not a plain 3D scan or a vector of channels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from unetr.core.machine.allowance import Claim, admit_scan
from unetr.core.space.volume import Affine, Volume
from unetr.errors import InputError
from unetr.io.checks import RawScan
from unetr.io.formats.label_field import KEY, label_names_from_json, label_names_to_json
from unetr.io.formats.text_header import LPS_TO_RAS, field_numbers, field_whole_numbers, header_lines
from unetr.io.stream import Compression, Drain, open_scan, write_pieces
from unetr.io.voxels import channels_from_bytes, interleaved_pieces, volume_sizes

_TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names.split(", ")}
_ENCODINGS: dict[str, Compression] = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
_SPACES = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
_SPACES |= {f"{name}{'-time' if '-' in name else 't'}": signs for name, signs in _SPACES.items()}
_SPACE_KINDS = {"domain", "space", "???", "none"}
# Kinds (nrrd/format.html, section 5) whose entries are plain numbers; colours, complex numbers and matrices are not.
_CHANNEL_KINDS = {
    "vector", "covariant-vector", "list", "point", "time", "stub", "scalar", "2-vector", "3-vector", "4-vector",
}  # fmt: skip
_MISSING = "no known space, space directions and space origin"


def read(path: Path) -> RawScan:
    """Reads a whole file and verifies its byte count and checksum. Raises InputError."""
    with open_scan(path) as handle:
        fields, names = _read_header(path, handle)
        axes = _axes(path, fields)
        dtype = _dtype(path, fields)
        affines, notes = _affines(path, fields, axes)
        spacing_mm = _spacing_mm(path, fields, axes)
        encoding = fields.get("encoding", "").lower()
        if encoding not in _ENCODINGS:
            raise InputError(f"{path}: its encoding is '{encoding}'; expected one of {', '.join(_ENCODINGS)}")
        drain = Drain(path, handle, _ENCODINGS[encoding])
        x, y, z, channels = axes.sizes
        admit_scan(path, Claim((x, y, z), channels, dtype, affine=next(iter(affines.values()), None)))
        voxels = drain.take(x * y * z * channels * dtype.itemsize)
        drain.finish()
    data = channels_from_bytes(voxels, dtype, axes.sizes, axes.interleaved)
    return RawScan(data, affines, _MISSING, spacing_mm, label_names=names, notes=notes)


def write(path: Path, volume: Volume, encoding: Literal["raw", "gzip"] = "gzip") -> None:
    """Writes NRRD0004 (the first version with key/value pairs), in LPS as ITK and 3D Slicer do."""
    channels, *sizes = volume.data.shape
    lps = LPS_TO_RAS @ volume.affine
    directions = [_vector(lps[:3, axis]) for axis in range(3)]
    kinds = ["domain"] * 3
    if channels > 1:
        sizes, kinds, directions = [channels, *sizes], ["vector", *kinds], ["none", *directions]
    lines = [
        "NRRD0004",
        f"type: {_TYPES[volume.data.dtype.str[1:]].split(', ')[-1]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in sizes)}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        f"encoding: {encoding}",
        f"space origin: {_vector(lps[:3, 3])}",
    ]
    if volume.label_names:
        escaped = label_names_to_json(volume.label_names).replace("\\", "\\\\")
        lines.append(f"{KEY}:={escaped}")
    with path.open("wb") as handle:
        handle.write("".join(f"{line}\n" for line in [*lines, ""]).encode("ascii"))
        write_pieces(handle, interleaved_pieces(volume.data), _ENCODINGS[encoding])


def _vector(numbers: Affine) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"


def _read_header(path: Path, handle: IO[bytes]) -> tuple[dict[str, str], dict[int, str]]:
    """Fields (names in lower case) and label names; leaves the handle at the first byte of the voxels."""
    fields: dict[str, str] = {}
    names: dict[int, str] = {}
    lines = header_lines(path, handle, "NRRD")
    if not next(lines).startswith("NRRD000"):
        raise InputError(f"{path}: is not an NRRD file: it does not start with NRRD000")
    for line in lines:
        if not line:
            break
        key, separator, value = line.partition(":")
        if line.startswith("#"):
            continue
        if not separator:
            raise InputError(f"{path}: its header has the line '{line[:40]}'; expected 'field: value'")
        if value.startswith("="):
            if key == KEY:
                names = label_names_from_json(value[1:].replace("\\\\", "\\"))
            continue
        key = key.strip().lower()
        if key in fields:
            raise InputError(f"{path}: its header says '{key}' twice; expected once")
        fields[key] = value.strip()
    for key in ("data file", "datafile"):
        if key in fields:
            raise InputError(f"{path}: keeps its voxels in another file ('{fields[key]}'); expected them in this one")
    for key in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(key, "0") != "0":
            raise InputError(f"{path}: its header asks for a '{key}' of {fields[key]}; expected none")
    return fields, names


@dataclass(frozen=True, slots=True)
class _Axes:
    """Which axes of a file are X, Y and Z, and what they mean.

    sizes: X, Y, Z, C. interleaved: the axis of channels comes first. space: indices of X, Y, Z among the file's axes.
    directions: the vector of each of them, None where the file has no space directions.
    """

    sizes: tuple[int, int, int, int]
    interleaved: bool
    space: tuple[int, ...]
    directions: list[list[float]] | None


def _axes(path: Path, fields: dict[str, str]) -> _Axes:
    """Tells space from channels by the kinds and by which axes have a direction. Raises InputError."""
    sizes = field_whole_numbers(path, fields, "sizes")
    dimension = field_whole_numbers(path, fields, "dimension")
    if dimension != [len(sizes)]:
        raise InputError(f"{path}: its header says dimension {dimension[0]} and {len(sizes)} sizes; expected as many")
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
    if len(kinds) != len(sizes):
        raise InputError(f"{path}: its header says {len(kinds)} kinds for {len(sizes)} axes; expected as many")
    vectors = _directions(path, fields, len(sizes))
    space = [i for i, kind in enumerate(kinds) if kind in _SPACE_KINDS and (vectors is None or vectors[i] is not None)]
    # A fourth axis in a space of four dimensions, as ITK writes it, or of one place, is no axis of space.
    if len(space) > 3 and (sizes[space[3]] == 1 or len(vectors[space[3]] or () if vectors else ()) > 3):
        space = space[:3]
    further = [i for i in range(len(sizes)) if i not in space]
    channels = [i for i in further if sizes[i] > 1]
    unknown = any(kinds[i] not in _CHANNEL_KINDS | _SPACE_KINDS for i in further)
    between = any(space[0] < i < space[-1] for i in channels) if space else True
    if unknown or between or len(space) > 3:
        raise InputError(
            f"{path}: has axes of the kinds {' '.join(kinds)} (sizes {' '.join(map(str, sizes))}); expected three "
            "of space, with at most one of kind vector or list for the channels before or after them"
        )
    sorted_sizes = volume_sizes(path, [*(sizes[i] for i in space), *(sizes[i] for i in further)])
    interleaved = bool(channels) and channels[0] < space[0]
    chosen = None if vectors is None else _space_directions(path, vectors, space)
    return _Axes(sorted_sizes, interleaved, tuple(space), chosen)


def _directions(path: Path, fields: dict[str, str], count: int) -> list[list[float] | None] | None:
    """The direction of each axis, None where the header says none; None where it has no space directions."""
    if "space directions" not in fields:
        return None
    words = re.findall(r"none|\([^()]*\)|[^\s()]+", fields["space directions"].lower())
    vectors = [None if word == "none" else _vector_of(path, word, "space directions") for word in words]
    if len(vectors) != count:
        raise InputError(f"{path}: its space directions has {len(vectors)} vectors; expected {count}")
    return vectors


def _space_directions(path: Path, vectors: list[list[float] | None], space: list[int]) -> list[list[float]]:
    """The directions of X, Y and Z in three dimensions. Raises InputError where another axis leads through space."""
    for i, vector in enumerate(vectors):
        along = [] if vector is None else vector[3:] if i in space else vector[:3]
        if any(along):
            raise InputError(f"{path}: gives its axis of channels a direction in space; expected 'none'")
    return [(vectors[i] or [])[:3] for i in space]


def _vector_of(path: Path, word: str, name: str) -> list[float]:
    numbers = word.removeprefix("(").removesuffix(")").replace(",", " ")
    return field_numbers(path, {name: numbers}, name, 4 if len(numbers.split()) == 4 else 3)


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[np.generic]:
    name = " ".join(fields.get("type", "").lower().split())
    if name not in _DTYPES:
        raise InputError(f"{path}: its voxel type is '{name}'; expected an integer or floating point type")
    dtype = np.dtype(_DTYPES[name])
    if dtype.itemsize == 1:
        return dtype
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big"):
        raise InputError(f"{path}: its byte order is '{endian}' (endian); expected little or big")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _affines(path: Path, fields: dict[str, str], axes: _Axes) -> tuple[dict[str, Affine], tuple[str, ...]]:
    """The affine in RAS mm, or none where the header does not say enough; and what was assumed."""
    units = fields.get("space units", "").replace('"', " ").split()
    if any(unit.lower() not in ("mm", "millimeter", "millimetre", "none", "") for unit in units):
        raise InputError(f"{path}: its space units are {' '.join(units)}; expected mm")
    space = " ".join(fields.get("space", "").lower().split())
    notes: tuple[str, ...] = ()
    if not space and fields.get("space dimension") == "4":
        space, notes = "lps", (f"{path}: its space of 4 dimensions has no name; taken as ITK writes it, LPS",)
    if space not in _SPACES or axes.directions is None or "space origin" not in fields:
        return {}, ()
    affine = np.eye(4)
    affine[:3, :3] = np.array(axes.directions).T
    affine[:3, 3] = _vector_of(path, fields["space origin"].strip(), "space origin")[:3]
    return {"affine (space directions)": np.diag([*_SPACES[space], 1.0]) @ affine}, notes


def _spacing_mm(path: Path, fields: dict[str, str], axes: _Axes) -> tuple[float, float, float]:
    """Voxel sizes to assume for a file without an affine: its own, or 1 mm where it has none."""
    if axes.directions is not None:
        sizes = [float(np.linalg.norm(direction)) for direction in axes.directions]
    elif "spacings" in fields:
        spacings = field_numbers(path, fields, "spacings", len(fields["sizes"].split()))
        sizes = [spacings[axis] for axis in axes.space]
    else:
        sizes = [1.0, 1.0, 1.0]
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        raise InputError(
            f"{path}: its voxel sizes are {', '.join(f'{s:g}' for s in sizes)}; expected positive numbers of mm"
        )
    return sizes[0], sizes[1], sizes[2]
