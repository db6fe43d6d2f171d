"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped (nifti.nimh.nih.gov/nifti-1, /nifti-2).

Reads the bytes itself, since no library notices every truncated or damaged file; nibabel decodes the header's fields
and the quaternion. Knows nothing of which geometry is acceptable.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

from unetr.core.machine.allowance import Claim, admit_scan
from unetr.core.space.grids import grid_tolerance_mm, same_grid
from unetr.core.space.volume import Affine, Array, Volume, grid_distance_mm
from unetr.errors import InputError
from unetr.io.checks import RawScan
from unetr.io.formats.label_field import KEY, label_names_from_json, label_names_to_json
from unetr.io.stream import GZIP_MAGIC, Compression, Drain, open_scan, write_pieces
from unetr.io.voxels import channel_pieces, channels_from_bytes, volume_sizes

# nibabel's header of either version, a record of named fields; nibabel itself is imported only when a file is.
Header = Any

_NUMBERS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_NOT_NUMBERS = {
    1: "single bits",
    32: "complex",
    128: "RGB",
    1536: "128-bit",
    1792: "complex",
    2048: "complex",
    2304: "RGBA",
}
_NOT_MM = {1: "metres", 3: "micrometres"}
# Further ones are not looked at.
_MOST_EXTENSIONS = 1000
_COMMENT = 6  # extension code for plain text; nifti1_io.h, NIFTI_ECODE_COMMENT
# NIFTI_XFORM_ALIGNED_ANAT: written for an affine that was assumed, since "scanner" would claim that it was measured.
_ALIGNED = 2
_MOST_NIFTI_1_SIZE = 32767
# b² + c² + d² may be above 1 by rounding, other programs' included.
_LONG_QUATERNION = 1e-5


def read(path: Path) -> RawScan:
    """Reads a whole file and verifies its byte count and checksum. Raises InputError."""
    with open_scan(path) as handle:
        drain = Drain(path, handle, _compression(path, handle))
        header = _read_header(path, drain)
        sizes, dtype, offset = _sizes(path, header), _dtype(path, header), _voxel_offset(path, header)
        spacing_mm = _spacing_mm(path, header)
        slope, intercept = _scaling(path, header)
        affines = _affines(path, header)
        rescaled = (slope, intercept) != (1, 0)
        affine = next(iter(affines.values()), None)
        admit_scan(path, Claim(sizes[:3], sizes[3], dtype, rescaled, affine, beside_bytes=2 * offset))
        extensions = drain.take(offset - int(header["sizeof_hdr"]))
        voxels = drain.take(math.prod(sizes) * dtype.itemsize)
        drain.finish()
    data = channels_from_bytes(voxels, dtype, sizes, interleaved=False)
    if rescaled:
        data = _scaled(data, slope, intercept)
    return RawScan(
        data=data,
        affines=affines,
        missing="qform_code and sform_code are 0",
        spacing_mm=spacing_mm,
        qform_code=max(0, int(header["qform_code"])),
        sform_code=max(0, int(header["sform_code"])),
        label_names=_label_names(extensions, header.endianness),
    )


def write(path: Path, volume: Volume) -> None:
    """Writes NIfTI-1, or NIfTI-2 where an axis is longer than 32767 voxels; gzipped if the name ends in .gz.

    Keeps the volume's qform_code and sform_code, except: both 0 (the affine was assumed) become 2, "aligned"; a
    qform, which cannot hold shear, is left out where the affine has some; an sform is added where a lone qform is
    too coarse.
    """
    start = _start(path, volume)
    compression: Compression = "gzip" if path.name.lower().endswith(".gz") else "none"
    with path.open("wb") as handle:
        write_pieces(handle, (piece for part in ([start], channel_pieces(volume.data)) for piece in part), compression)


def nifti_bytes(volume: Volume) -> bytes:
    """The bytes that `write` would put into a file without compression."""
    return b"".join([_start(Path("the volume"), volume), *map(bytes, channel_pieces(volume.data))])


def _start(path: Path, volume: Volume) -> bytes:
    """What stands before the voxels."""
    header = _new_header(path, volume)
    extension = _extension(volume.label_names)
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4 + len(extension)
    flag = bytes([1 if extension else 0, 0, 0, 0])
    return bytes(header.binaryblock + flag + extension)


def _compression(path: Path, handle: IO[bytes]) -> Compression:
    gzipped = handle.read(2) == GZIP_MAGIC
    handle.seek(0)
    named = path.name.lower().endswith(".gz")
    if named and not gzipped:
        raise InputError(f"{path}: is not gzip data; expected what its name says")
    if gzipped and not named:
        raise InputError(f"{path}: is gzip data; expected plain NIfTI, rename it to end in .nii.gz")
    return "gzip" if gzipped else "none"


def _read_header(path: Path, drain: Drain) -> Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = bytes(drain.take(4))
    for order in "<>":
        size = struct.unpack(f"{order}i", start)[0]
        if size in (348, 540):
            block = start + bytes(drain.take(size - 4))
            magic = block[344:348] if size == 348 else block[4:12]
            _check_magic(path, magic)
            kind: Any = Nifti1Header if size == 348 else Nifti2Header
            return kind(block, endianness=order, check=False)
    raise InputError(f"{path}: is not a NIfTI file: it does not start with a header size of 348 or 540")


def _check_magic(path: Path, magic: bytes) -> None:
    if magic in (b"ni1\0", b"ni2\0\r\n\x1a\n"):
        raise InputError(f"{path}: is the header of a .hdr/.img pair; expected one file, convert it to .nii.gz")
    if magic == bytes(len(magic)):
        raise InputError(f"{path}: is ANALYZE 7.5, which says nothing of left and right; convert it to .nii.gz")
    if magic not in (b"n+1\0", b"n+2\0\r\n\x1a\n"):
        raise InputError(f"{path}: is not a NIfTI file or damaged: its magic is {magic!r}, expected n+1 or n+2")


def _sizes(path: Path, header: Header) -> tuple[int, int, int, int]:
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise InputError(f"{path}: its header says {axes} axes (dim[0]); expected 3 or 4")
    return volume_sizes(path, [int(size) for size in header["dim"][1 : axes + 1]])


def _dtype(path: Path, header: Header) -> np.dtype[np.generic]:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in _NUMBERS:
        what = _NOT_NUMBERS.get(code, "of unknown type")
        raise InputError(f"{path}: its voxels are {what} (datatype {code}); expected real numbers, one per voxel")
    dtype = np.dtype(_NUMBERS[code]).newbyteorder(header.endianness)
    if bits != 8 * dtype.itemsize:
        raise InputError(f"{path}: its header says {bits} bits per voxel; datatype {code} has {8 * dtype.itemsize}")
    return dtype


def _voxel_offset(path: Path, header: Header) -> int:
    offset, least = float(header["vox_offset"]), int(header["sizeof_hdr"]) + 4
    if not (np.isfinite(offset) and offset >= least and offset == int(offset)):
        raise InputError(f"{path}: its voxels start at byte {offset:g} (vox_offset); expected at least {least}")
    return int(header["vox_offset"])


def _spacing_mm(path: Path, header: Header) -> tuple[float, float, float]:
    x, y, z = (float(size) for size in header["pixdim"][1:4])
    if not all(np.isfinite(size) and size > 0 for size in (x, y, z)):
        raise InputError(f"{path}: its voxel sizes are {x:g}, {y:g}, {z:g} (pixdim); expected positive numbers of mm")
    unit = int(header["xyzt_units"]) & 7
    if unit in _NOT_MM:
        raise InputError(f"{path}: its lengths are in {_NOT_MM[unit]} (xyzt_units {unit}); expected mm")
    return x, y, z


def _scaling(path: Path, header: Header) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means none (nifti1.h), and so does NaN, which nibabel writes."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise InputError(f"{path}: its scaling is {slope:g} (scl_slope), {intercept:g} (scl_inter); expected numbers")
    return slope, intercept


def _scaled(data: Array, slope: float, intercept: float) -> Array:
    """data · slope + intercept in float64, stored as float32 [C, X, Y, Z]."""
    scaled = np.empty_like(data, dtype=np.float32)
    with np.errstate(over="ignore"):
        for z in range(data.shape[3]):
            scaled[..., z] = data[..., z].astype(np.float64) * slope + intercept
    return scaled


def _affines(path: Path, header: Header) -> dict[str, Affine]:
    """The affines that the header declares; the sform first, which is stored with more precision."""
    affines: dict[str, Affine] = {}
    if header["sform_code"] > 0:
        affines["sform"] = np.asarray(header.get_sform(), dtype=np.float64)
    if header["qform_code"] > 0:
        affines["qform"] = _qform(path, header)
    return affines


def _qform(path: Path, header: Header) -> Affine:
    """The affine of the quaternion (nifti1.h, method 2), in float64.

    Not nibabel's `get_qform`: that takes a real part below 6e-4 for 0, which turns scans near half turns by 1.2e-3 rad.
    """
    import nibabel.quaternions

    to_matrix: Any = nibabel.quaternions.quat2mat
    bcd = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
    real_squared = 1 - float(bcd @ bcd)
    if real_squared < -_LONG_QUATERNION:
        raise InputError(
            f"{path}: its qform is no rotation: the quaternion's b, c, d have the length {np.linalg.norm(bcd):g}, "
            "expected at most 1; correct it or set qform_code to 0"
        )
    qfac = float(header["pixdim"][0])
    if qfac not in (-1, 0, 1):
        raise InputError(f"{path}: its qfac (pixdim[0]) is {qfac:g}; expected 1 or -1, or set qform_code to 0")
    x, y, z = (float(size) for size in header["pixdim"][1:4])
    affine = np.eye(4)
    affine[:3, :3] = to_matrix([math.sqrt(max(0.0, real_squared)), *bcd]) * [x, y, -z if qfac < 0 else z]
    affine[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


def _label_names(extensions: bytearray, order: str) -> dict[int, str]:
    """Our label names among the header extensions; anything broken or another program's is passed over."""
    position = 4 if extensions[0] else len(extensions)
    for _ in range(_MOST_EXTENSIONS):
        if position + 8 > len(extensions):
            break
        size, code = struct.unpack_from(f"{order}ii", extensions, position)
        if size < 8 or position + size > len(extensions):
            break
        text = extensions[position + 8 : position + size].rstrip(b"\0")
        if code == _COMMENT and KEY.encode() in text and text.isascii():
            return label_names_from_json(text.decode("ascii"))
        position += size
    return {}


def _extension(names: dict[int, str]) -> bytes:
    if not names:
        return b""
    text = f'{{"{KEY}": {label_names_to_json(names)}}}'.encode("ascii")
    size = -(-(8 + len(text)) // 16) * 16
    return struct.pack("<ii", size, _COMMENT) + text.ljust(size - 8, b"\0")


def _new_header(path: Path, volume: Volume) -> Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    channels, *sizes = volume.data.shape
    shape = tuple(sizes) if channels == 1 else (*sizes, channels)
    kind: Any = Nifti1Header if max(shape) <= _MOST_NIFTI_1_SIZE else Nifti2Header
    header: Header = kind(endianness="<")
    header.set_data_dtype(volume.data.dtype)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = 1, 0
    header.set_qform(volume.affine, 1, strip_shears=True)
    qform, sform = _codes(volume, _qform(path, header))
    header["qform_code"] = qform
    header.set_sform(volume.affine, sform)
    return header


def _codes(volume: Volume, stored_qform: Affine) -> tuple[int, int]:
    """qform_code and sform_code to write, see `write`."""
    qform, sform = volume.qform_code, volume.sform_code
    if qform == 0 and sform == 0:
        return _ALIGNED, _ALIGNED
    distance = grid_distance_mm(volume.affine, stored_qform, volume.shape)
    if sform == 0 and distance > grid_tolerance_mm(volume.affine, volume.shape):
        sform = qform
    if not same_grid(volume.affine, stored_qform, volume.shape):
        qform = 0
    return qform, sform
