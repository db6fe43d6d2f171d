"""Scans as bytes, written by hand: NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass

import numpy as np

SHAPE = (7, 6, 5)

Patch = tuple[int, str, tuple[object, ...]]


@dataclass(frozen=True)
class Recipe:
    """A file to write: its bytes, or None where the generator makes something other than a file."""

    name: str
    suffix: str
    content: bytes
    reason: str


def voxels(rng: np.random.Generator, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return rng.integers(-1000, 1000, shape, dtype=np.int16)


_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "c8": 32, "i1": 256}


def nifti(data: np.ndarray, *patches: Patch) -> bytes:
    """A NIfTI-1 file with qform and sform 1, spacing 1×1.5×2 mm; patches overwrite (offset, format, values)."""
    header = bytearray(352)
    sizes = (data.ndim, *data.shape, *[1] * (7 - data.ndim))
    fields: list[Patch] = [
        (0, "i", (348,)),
        (40, "8h", sizes),
        (70, "2h", (_CODES[data.dtype.str[1:]], 8 * data.dtype.itemsize)),
        (76, "8f", (1, 1, 1.5, 2, 1, 1, 1, 1)),
        (108, "3f", (352, 1, 0)),
        (123, "B", (2,)),
        (252, "2h", (1, 1)),
        (256, "6f", (0, 0, 0, -10, -20, 5)),
        (280, "12f", (1, 0, 0, -10, 0, 1.5, 0, -20, 0, 0, 2, 5)),
        (344, "4s", (b"n+1\0",)),
    ]
    for offset, form, values in (*fields, *patches):
        struct.pack_into(f"<{form}", header, offset, *values)
    return bytes(header) + data.tobytes(order="F")


def nifti_2(data: np.ndarray) -> bytes:
    header = bytearray(544)
    fields: list[Patch] = [
        (0, "i", (540,)),
        (4, "8s", (b"n+2\0\r\n\x1a\n",)),
        (12, "2h", (4, 16)),
        (16, "8q", (3, *data.shape, 1, 1, 1, 1)),
        (104, "8d", (1, 1, 1.5, 2, 1, 1, 1, 1)),
        (168, "q", (544,)),
        (176, "2d", (1, 0)),
        (344, "2i", (0, 1)),
        (400, "12d", (1, 0, 0, -10, 0, 1.5, 0, -20, 0, 0, 2, 5)),
    ]
    for offset, form, values in fields:
        struct.pack_into(f"<{form}", header, offset, *values)
    return bytes(header) + data.tobytes(order="F")


def compress(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)


NRRD_FIELDS = {
    "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "7 6 5",
    "space directions": "(1,0,0) (0,1.5,0) (0,0,2)", "kinds": "domain domain domain", "endian": "little",
    "encoding": "raw", "space origin": "(10,20,5)",
}  # fmt: skip


def nrrd(content: bytes, **changes: str | None) -> bytes:
    """An NRRD file; `changes` replace fields (underscores for spaces), None leaves them out."""
    fields: dict[str, str | None] = NRRD_FIELDS | {key.replace("_", " "): value for key, value in changes.items()}
    lines = "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)
    return f"NRRD0004\n{lines}\n".encode() + content


MHA_FIELDS = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "10 20 5",
    "ElementSpacing": "1 1.5 2", "DimSize": "7 6 5", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
}  # fmt: skip


def mha(content: bytes, **changes: str | None) -> bytes:
    """A MetaImage file; `changes` replace fields or come first, None leaves them out."""
    new = {key: value for key, value in changes.items() if key not in MHA_FIELDS}
    fields = {"ObjectType": "Image", **new, **MHA_FIELDS, **{k: v for k, v in changes.items() if k in MHA_FIELDS}}
    return "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None).encode() + content
