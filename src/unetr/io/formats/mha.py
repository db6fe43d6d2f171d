"""MetaImage with its voxels in the same file, .mha (itk.org/Wiki/ITK/MetaIO/Documentation), plain or zlib-compressed.

Decodes the verified bytes itself, so that what was checked is what is used. Channels are the components of its voxels
or a fourth axis. Refuses voxels in another file and text voxels.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np

from unetr.core.machine.allowance import Claim, admit_scan
from unetr.core.space.volume import Affine, Volume
from unetr.errors import InputError
from unetr.io.checks import RawScan
from unetr.io.formats.label_field import KEY, label_names_from_json, label_names_to_json
from unetr.io.formats.text_header import LPS_TO_RAS, field_numbers, field_whole_numbers, header_lines
from unetr.io.stream import GZIP_MAGIC, Compression, Drain, open_scan, write_pieces
from unetr.io.voxels import channels_from_bytes, interleaved_pieces, volume_sizes

# MET_LONG has 4 bytes in every MetaImage file, whatever the machine's long (metaTypes.h).
_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_TYPE_NAMES = {dtype: name for name, dtype in reversed(_TYPES.items())}
# Other spellings that the format allows, and the one used here.
_SPELLINGS = {
    "Rotation": "TransformMatrix", "Orientation": "TransformMatrix", "Position": "Offset", "Origin": "Offset",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}  # fmt: skip
_GEOMETRY = ("TransformMatrix", "Offset", "ElementSpacing")


def read(path: Path) -> RawScan:
    """Reads a whole file and verifies its byte count and checksum. Raises InputError."""
    with open_scan(path) as handle:
        fields = _read_header(path, handle)
        (x, y, z, channels), interleaved = _sizes(path, fields)
        dtype = _dtype(path, fields, channels if interleaved else 1)
        spacing_mm = _spacing_mm(path, fields)
        missing = [name for name in _GEOMETRY if name not in fields]
        affines = {} if missing else {"affine (TransformMatrix, Offset)": _affine(path, fields, spacing_mm)}
        drain = Drain(path, handle, _compression(path, fields, handle))
        admit_scan(path, Claim((x, y, z), channels, dtype, affine=next(iter(affines.values()), None)))
        voxels = drain.take(x * y * z * channels * dtype.itemsize)
        drain.finish()
    data = channels_from_bytes(voxels, dtype, (x, y, z, channels), interleaved)
    names = label_names_from_json(fields.get(KEY, ""))
    return RawScan(data, affines, f"no {', '.join(missing)}", spacing_mm, label_names=names)


def write(path: Path, volume: Volume) -> None:
    """Writes zlib-compressed voxels, in LPS as ITK does. Raises InputError for what would be read as a colour image."""
    channels, *sizes = volume.data.shape
    dtype = volume.data.dtype.str[1:]
    _refuse_colour(path, np.dtype(dtype), channels)
    lps = LPS_TO_RAS @ volume.affine
    spacing_mm = np.array(volume.spacing_mm)
    # ITK reads noise where CompressedDataSize is missing, so the voxels are compressed before the header is written.
    compressed = io.BytesIO()
    write_pieces(compressed, interleaved_pieces(volume.data), "zlib")
    voxels = compressed.getvalue()
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(voxels)),
        # One row per voxel axis.
        "TransformMatrix": _text((lps[:3, :3] / spacing_mm).T),
        "Offset": _text(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _text(spacing_mm),
        "DimSize": " ".join(str(size) for size in sizes),
    }
    if channels > 1:
        fields["ElementNumberOfChannels"] = str(channels)
    if volume.label_names:
        fields[KEY] = label_names_to_json(volume.label_names)
    # The format wants these two last.
    fields |= {"ElementType": _TYPE_NAMES[dtype], "ElementDataFile": "LOCAL"}
    with path.open("wb") as handle:
        handle.write("".join(f"{key} = {value}\n" for key, value in fields.items()).encode("ascii"))
        handle.write(voxels)


def _text(numbers: Affine) -> str:
    return " ".join(repr(float(number)) for number in numbers.ravel())


def _read_header(path: Path, handle: IO[bytes]) -> dict[str, str]:
    """The header's fields; leaves the handle at the first byte of the voxels."""
    fields: dict[str, str] = {}
    for line in header_lines(path, handle, "a MetaImage file"):
        key, separator, value = (part.strip() for part in line.partition("="))
        key = _SPELLINGS.get(key, key)
        if not separator or (not fields and key not in ("ObjectType", "Comment", "NDims")):
            raise InputError(f"{path}: is not a MetaImage file or damaged: its header has the line '{line[:40]}'")
        if key in fields:
            raise InputError(f"{path}: its header says {key} twice; expected once")
        fields[key] = value
        if key == "ElementDataFile":
            break
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise InputError(
            f"{path}: keeps its voxels in another file ('{fields['ElementDataFile']}'); expected them in this one"
        )
    if fields.get("ObjectType", "Image") != "Image":
        raise InputError(f"{path}: holds a {fields['ObjectType']}; expected an Image")
    if fields.get("HeaderSize", "0") != "0":
        raise InputError(f"{path}: its header asks for a HeaderSize of {fields['HeaderSize']}; expected none")
    if not _flag(path, fields, "BinaryData"):
        raise InputError(f"{path}: keeps its voxels as text; expected BinaryData = True")
    return fields


def _compression(path: Path, fields: dict[str, str], handle: IO[bytes]) -> Compression:
    """zlib's wrapper as MetaIO writes it, or gzip's, which it reads as well."""
    if not _flag(path, fields, "CompressedData"):
        return "none"
    start = handle.tell()
    magic = handle.read(len(GZIP_MAGIC))
    handle.seek(start)
    return "gzip" if magic == GZIP_MAGIC else "zlib"


def _flag(path: Path, fields: dict[str, str], name: str) -> bool:
    value = fields.get(name, "False").lower()
    if value not in ("true", "false", "1", "0"):
        raise InputError(f"{path}: its {name} is '{value[:40]}'; expected True or False")
    return value in ("true", "1")


def _sizes(path: Path, fields: dict[str, str]) -> tuple[tuple[int, int, int, int], bool]:
    """The sizes X, Y, Z, C, and whether the channels are components of voxels rather than a further axis."""
    sizes = field_whole_numbers(path, fields, "DimSize")
    axes = field_whole_numbers(path, fields, "NDims")
    if axes != [len(sizes)]:
        raise InputError(f"{path}: its header says NDims {axes[0]} and {len(sizes)} sizes; expected as many")
    components = field_whole_numbers(path, {"ElementNumberOfChannels": "1"} | fields, "ElementNumberOfChannels")
    return volume_sizes(path, [*sizes, *([] if components == [1] else components)]), components != [1]


def _dtype(path: Path, fields: dict[str, str], channels: int) -> np.dtype[np.generic]:
    name = fields.get("ElementType", "")
    if name not in _TYPES:
        raise InputError(f"{path}: its voxel type is '{name}' (ElementType); expected one of {', '.join(_TYPES)}")
    dtype = np.dtype(_TYPES[name])
    _refuse_colour(path, dtype, channels)
    return dtype.newbyteorder(">" if _flag(path, fields, "BinaryDataByteOrderMSB") else "<")


def _refuse_colour(path: Path, dtype: np.dtype[np.generic], channels: int) -> None:
    # The format does not tell colours from channels; bytes in threes or fours are what colour images look like.
    if dtype == np.uint8 and channels in (3, 4):
        raise InputError(
            f"{path}: has {channels} bytes per voxel, which in MetaImage may be RGB(A) colour; expected one number, "
            "or channels of another type or in another format"
        )


def _spacing_mm(path: Path, fields: dict[str, str]) -> tuple[float, float, float]:
    """Voxel sizes; 1 mm where the header has none, which is then used only for an assumed affine."""
    axes = _axes(fields)
    x, y, z = field_numbers(path, {"ElementSpacing": " 1" * axes} | fields, "ElementSpacing", axes)[:3]
    if not all(np.isfinite(size) and size > 0 for size in (x, y, z)):
        raise InputError(f"{path}: its voxel sizes are {x:g}, {y:g}, {z:g} (ElementSpacing); expected positive mm")
    return x, y, z


def _affine(path: Path, fields: dict[str, str], spacing_mm: tuple[float, float, float]) -> Affine:
    """The affine in RAS mm: each row of TransformMatrix is the direction of one voxel axis."""
    axes = _axes(fields)
    affine = np.eye(4)
    rows = np.array(field_numbers(path, fields, "TransformMatrix", axes**2)).reshape(axes, axes)
    if rows[3:, :3].any() or rows[:3, 3:].any():
        raise InputError(
            f"{path}: its TransformMatrix mixes the axes of space with axis {axes}; expected zeros between them"
        )
    affine[:3, :3] = rows[:3, :3].T * spacing_mm
    affine[:3, 3] = field_numbers(path, fields, "Offset", axes)[:3]
    return LPS_TO_RAS @ affine


def _axes(fields: dict[str, str]) -> int:
    return len(fields["DimSize"].split())
