"""gzip data in several members (bgzip, pgzip): read as nibabel and SimpleITK read it, damage in any member found."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from unetr.errors import InputError
from unetr.io import read_volume

DATA = np.random.default_rng(0).integers(-900, 900, (13, 11, 9)).astype("<i2")
_NRRD = (
    "NRRD0004\ntype: int16\ndimension: 3\nspace: right-anterior-superior\nsizes: 13 11 9\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (1,1,1)\nendian: little\nencoding: gzip\n\n"
)
_MHA = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
    "CompressedDataSize = {size}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\n"
    "DimSize = 13 11 9\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)

Members = list[bytes]
Split = Callable[[bytes], list[bytes]]


def _evenly(step: int) -> Split:
    return lambda raw: [raw[at : at + step] for at in range(0, len(raw), step)]


SPLITS: dict[str, Split] = {
    "one": _evenly(10**9),
    "two": lambda raw: [raw[:1000], raw[1000:]],
    "header alone": lambda raw: [raw[:348], raw[348:]],
    "in the header": lambda raw: [raw[:2], raw[2:100], raw[100:]],
    "tiny": _evenly(7),
    "bgzip": lambda raw: [*_evenly(300)(raw), b""],
    "empty ones": lambda raw: [b"", raw[:500], b"", b"", raw[500:], b""],
}


def members(suffix: str, split: Split) -> tuple[bytes, Members]:
    """What comes before the gzip data, and its members."""
    raw = nibabel.Nifti1Image(DATA, np.eye(4)).to_bytes() if suffix == ".nii.gz" else DATA.tobytes(order="F")
    return b"" if suffix == ".nii.gz" else _NRRD.encode(), [gzip.compress(part) for part in split(raw)]


@pytest.mark.fault("gzip members")
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_members_are_read_like_other_programs_read_them(suffix: str, split: str, tmp_path: Path) -> None:
    head, parts = members(suffix, SPLITS[split])
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(head + b"".join(parts))
    assert np.array_equal(read_volume(path).data[0], DATA)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T, DATA)
    if suffix == ".nii.gz":
        assert np.array_equal(np.asarray(nibabel.load(path).dataobj), DATA)


@pytest.mark.fault("gzip members")
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_damage_in_any_member_is_found(suffix: str, tmp_path: Path) -> None:
    head, parts = members(suffix, _evenly(600))
    path = tmp_path / f"scan{suffix}"

    def refused(*changed: bytes) -> None:
        path.write_bytes(head + b"".join(changed))
        with pytest.raises(InputError, match=f"^{path}: "):
            read_volume(path)

    for number, part in enumerate(parts):
        before, after = parts[:number], parts[number + 1 :]
        for at in (-8, -5, -4, -1):  # checksum and length
            wrong = bytearray(part)
            wrong[at] ^= 1
            refused(*before, bytes(wrong), *after)
        refused(*before, part[:-1], *after)
        refused(*before, part[: len(part) // 2], *after)
        refused(*before, *after)
        refused(*before, part, part, *after)
        refused(*before, part, b"x", *after)
        refused(*before, part, b"\0", *after)
        refused(*before, part[1:], *after)
    refused(*parts, b"garbage")
    refused(*parts, bytes(600))
    refused(*parts, b"\x1f\x8b")
    refused(*parts, gzip.compress(b"\0"))
    refused(*parts, gzip.compress(b"")[:-1])


@pytest.mark.fault("gzip members")
def test_a_million_members_take_no_longer(tmp_path: Path) -> None:
    """Linear in the file's size: what is read beyond a member's end is little."""
    _, parts = members(".nii.gz", _evenly(600))
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"".join(parts) + gzip.compress(b"") * 100_000)
    started = time.perf_counter()
    assert np.array_equal(read_volume(path).data[0], DATA)
    assert time.perf_counter() - started < 10  # 0.5 s on a quiet core


@pytest.mark.fault("gzip members")
def test_compressed_meta_images(tmp_path: Path) -> None:
    """zlib's wrapper and gzip's, as MetaIO reads both; nothing may follow."""
    raw = DATA.tobytes(order="F")
    path = tmp_path / "scan.mha"
    for voxels in (zlib.compress(raw), gzip.compress(raw)):
        path.write_bytes(_MHA.format(size=len(voxels)).encode() + voxels)
        assert np.array_equal(read_volume(path).data[0], DATA)
        assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T, DATA)
        for changed in (voxels + b"x", voxels[:-1], voxels[:-5] + b"\0" + voxels[-4:], voxels + voxels):
            path.write_bytes(_MHA.format(size=len(changed)).encode() + changed)
            with pytest.raises(InputError, match=r"scan\.mha"):
                read_volume(path)
