"""NRRD with its voxels in the same file, raw or gzipped (teem.sourceforge.net/nrrd/format.html).

Decodes the verified bytes itself, so that what was checked is what is used. Refuses detached data files, other
encodings, and axes of a kind that is not a plain 3D scan or a vector of channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from unetr.core.allowance import Claim, admit_scan
from unetr.core.volume import Affine, Volume
from unetr.errors import InputError
from unetr.io.checks import RawScan
from unetr.io.names import KEY, label_names_from_json, label_names_to_json
from unetr.io.stream import Compression, Drain, open_scan, write_pieces
from unetr.io.text_header import LPS_TO_RAS, field_numbers, field_whole_numbers, header_lines
from unetr.io.voxels import array_from_bytes, interleaved_pieces, volume_sizes

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
_MISSING = "no known space, space directions and space origin"


def read(path: Path) -> RawScan:
    """Reads a whole file and verifies its byte count and checksum. Raises InputError."""
    with open_scan(path) as handle:
        fields, names = _read_header(path, handle)
        vector, sizes = _axes(path, fields)
        dtype = _dtype(path, fields)
        affines = _affines(path, fields, vector)
        spacing_mm = _spacing_mm(path, fields, vector)
        encoding = fields.get("encoding", "").lower()
        if encoding not in _ENCODINGS:
            raise InputError(f"{path}: its encoding is '{encoding}'; expected one of {', '.join(_ENCODINGS)}")
        drain = Drain(path, handle, _ENCODINGS[encoding])
        x, y, z, channels = sizes
        admit_scan(path, Claim((x, y, z), channels, dtype, affine=next(iter(affines.values()), None)))
        voxels = drain.take(x * y * z * channels * dtype.itemsize)
        drain.finish()
    data = array_from_bytes(voxels, dtype, (channels, x, y, z))
    return RawScan(data, affines, _MISSING, spacing_mm, label_names=names)


def write(path: Path, volume: Volume) -> None:
    """Writes NRRD0004 (the first version with key/value pairs), gzipped, in LPS as ITK and 3D Slicer do."""
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
        "encoding: gzip",
        f"space origin: {_vector(lps[:3, 3])}",
    ]
    if volume.label_names:
        escaped = label_names_to_json(volume.label_names).replace("\\", "\\\\")
        lines.append(f"{KEY}:={escaped}")
    with path.open("wb") as handle:
        handle.write("".join(f"{line}\n" for line in [*lines, ""]).encode("ascii"))
        write_pieces(handle, interleaved_pieces(volume.data), "gzip")


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


def _axes(path: Path, fields: dict[str, str]) -> tuple[bool, tuple[int, int, int, int]]:
    """Whether the first axis is a vector of channels, and the sizes X, Y, Z, C."""
    sizes = field_whole_numbers(path, fields, "sizes")
    dimension = field_whole_numbers(path, fields, "dimension")
    if dimension != [len(sizes)]:
        raise InputError(f"{path}: its header says dimension {dimension[0]} and {len(sizes)} sizes; expected as many")
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
    if len(kinds) != len(sizes):
        raise InputError(f"{path}: its header says {len(kinds)} kinds for {len(sizes)} axes; expected as many")
    vector = kinds[0] == "vector"
    spatial = kinds[1:] if vector else kinds
    if any(kind not in ("domain", "space", "???", "none") for kind in spatial) or len(spatial) > 3:
        raise InputError(
            f"{path}: has axes of the kinds {' '.join(kinds)} (sizes {' '.join(map(str, sizes))}); expected three "
            "of space, after at most one of kind vector for the channels"
        )
    return vector, volume_sizes(path, [*sizes[1:], sizes[0]] if vector else sizes)


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


def _affines(path: Path, fields: dict[str, str], vector: bool) -> dict[str, Affine]:
    """The affine in RAS mm, or none where the header does not say enough."""
    units = fields.get("space units", "").replace('"', " ").split()
    if any(unit.lower() not in ("mm", "millimeter", "millimetre", "none", "") for unit in units):
        raise InputError(f"{path}: its space units are {' '.join(units)}; expected mm")
    space = " ".join(fields.get("space", "").lower().split())
    if space not in _SPACES or "space directions" not in fields or "space origin" not in fields:
        return {}
    affine = np.eye(4)
    affine[:3, :3] = np.array(_directions(path, fields, vector)).T
    affine[:3, 3] = _vectors(path, fields, "space origin", 1)[0]
    return {"affine (space directions)": np.diag([*_SPACES[space], 1.0]) @ affine}


def _directions(path: Path, fields: dict[str, str], vector: bool) -> list[list[float]]:
    text = fields["space directions"]
    if vector:
        if not text.startswith("none"):
            raise InputError(f"{path}: gives its axis of channels a direction in space; expected 'none'")
        text = text.removeprefix("none")
    return _vectors(path, {"space directions": text}, "space directions", 3)


def _vectors(path: Path, fields: dict[str, str], name: str, count: int) -> list[list[float]]:
    parts = fields[name].replace(" ", "").removeprefix("(").removesuffix(")").split(")(")
    vectors = [field_numbers(path, {name: part.replace(",", " ")}, name, 3) for part in parts]
    if len(vectors) != count:
        raise InputError(f"{path}: its {name} has {len(vectors)} vectors; expected {count}")
    return vectors


def _spacing_mm(path: Path, fields: dict[str, str], vector: bool) -> tuple[float, float, float]:
    """Voxel sizes to assume for a file without an affine: its own, or 1 mm where it has none."""
    if "space directions" in fields:
        sizes = [float(np.linalg.norm(direction)) for direction in _directions(path, fields, vector)]
    elif "spacings" in fields:
        sizes = field_numbers(path, fields, "spacings", 4 if vector else 3)[-3:]
    else:
        sizes = [1.0, 1.0, 1.0]
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        raise InputError(
            f"{path}: its voxel sizes are {', '.join(f'{s:g}' for s in sizes)}; expected positive numbers of mm"
        )
    return sizes[0], sizes[1], sizes[2]
