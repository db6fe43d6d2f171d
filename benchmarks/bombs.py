"""Small files that stand for much memory: what `unetr predict --memory-limit` and `unetr info` do with each.

    uv run python benchmarks/bombs.py [--limit 600MB] [--only NAME ...]

The target is a peak below 1.15 times the limit for every file and command; whether a file is refused (exit 2, 3) or
segmented (0) depends on what it comes to. Peaks are the kernel's (measured.py). Made by code, in a temporary folder.
"""

from __future__ import annotations

import argparse
import io
import math
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import JPEG2000Lossless, RLELossless

from measured import measure
from unetr.model.file.model_file import write_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))
from seeds import dicom_maker, dicom_slices, model

# Large, so that the sound ones among the scans take seconds.
WINDOW = 128
PIECE = 1 << 22
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64}


def deflated(path: Path, plain: bytes, head: bytes, count: int, wbits: int) -> None:
    """`plain`, then compressed: `head`, a one, zeros, a one: so many bytes that no border of zeros can be cropped."""
    squeeze = zlib.compressobj(1, wbits=wbits)
    with path.open("wb") as file:
        file.write(plain + squeeze.compress(head + b"\1"))
        left = count - 2
        while left > 0:
            file.write(squeeze.compress(bytes(min(left, PIECE))))
            left -= PIECE
        file.write(squeeze.compress(b"\1") + squeeze.flush())


def nifti(sizes: tuple[int, ...], code: int, spacing: tuple[float, ...] = (1, 1, 1), slope: float = 0) -> Callable:
    def make(path: Path) -> None:
        head = bytearray(352)
        struct.pack_into("<i", head, 0, 348)
        struct.pack_into("<8h", head, 40, len(sizes), *sizes, *[1] * (7 - len(sizes)))
        struct.pack_into("<2h", head, 70, code, BITS[code])
        struct.pack_into("<8f3f", head, 76, 1, *spacing, 0, 0, 0, 0, 352, slope, 0)
        struct.pack_into("<2h", head, 252, 0, 1)
        for axis in range(3):
            struct.pack_into("<4f", head, 280 + 16 * axis, *(spacing[axis] * (axis == o) for o in range(3)), 0)
        head[344:348] = b"n+1\0"
        deflated(path, b"", bytes(head), math.prod(sizes) * BITS[code] // 8, 31)

    return make


def nrrd(size: int, name: str, bytes_each: int) -> Callable:
    head = (
        f"NRRD0004\ntype: {name}\ndimension: 3\nspace: left-posterior-superior\nsizes: {size} {size} {size}\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: gzip\n\n"
    )
    return lambda path: deflated(path, head.encode(), b"", size**3 * bytes_each, 31)


def mha(size: int, name: str, bytes_each: int) -> Callable:
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        f"Offset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = {size} {size} {size}\nElementType = {name}\n"
        "ElementDataFile = LOCAL\n"
    )
    return lambda path: deflated(path, head.encode(), b"", size**3 * bytes_each, 15)


def zeros(path: Path, method: int, names: list[str], megabytes: int, *beside: bytes) -> None:
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        for name in names:
            with archive.open(name, "w", force_zip64=True) as entry:
                for _ in range(megabytes):
                    entry.write(bytes(10**6))
        for index, content in enumerate(beside):
            archive.writestr(f"{index}.dcm", content)


def changed(change: Callable[[pydicom.Dataset], None]) -> Iterator[bytes]:
    for content in dicom_slices():
        dataset = pydicom.dcmread(io.BytesIO(content))
        change(dataset)
        made = io.BytesIO()
        dataset.save_as(made)
        yield made.getvalue()


def series(change: Callable[[pydicom.Dataset], None]) -> Callable:
    """The slices of a series, each changed, in a zip."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, content in enumerate(changed(change)):
                archive.writestr(f"{index}.dcm", content)

    return make


def large(dataset: pydicom.Dataset) -> None:
    dataset.Rows = dataset.Columns = 9000
    dataset.PixelData = bytes(2 * 9000**2)


def jpeg_2000(dataset: pydicom.Dataset) -> None:
    large(dataset)
    dataset.compress(JPEG2000Lossless)


def run_length(dataset: pydicom.Dataset) -> None:
    dataset.compress(RLELossless)
    head = struct.pack("<16I", 2, 64, 64 + 2 * 5_000_000, *[0] * 13)
    dataset.PixelData = pydicom.encaps.encapsulate([head + b"\x81\x00" * 10_000_000])


def private_value(dataset: pydicom.Dataset) -> None:
    dataset.add_new(0x00091001, "OB", bytes(900 * 10**6))


def many_frames(path: Path) -> None:
    """20,000 frames of 2x2 pixels."""
    dicom_maker().write_enhanced(path, np.zeros((2, 2, 20_000), np.int16))


def directory(path: Path) -> None:
    record = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    end = b"PK\x05\x06" + bytes(4) + struct.pack("<HHIIH", 0xFFFF, 0xFFFF, len(record) * 500_000, 0, 0)
    path.write_bytes(record * 500_000 + end)


def names(path: Path) -> None:
    """30,000 label names in a scan of 27 voxels."""
    listed = ",".join(f'"{value}":"n{value}"' for value in range(1, 30_001))
    head = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 3 3\nencoding: raw\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nunetr_label_names:={{{listed}}}\n\n"
    )
    path.write_bytes(head.encode() + bytes(range(27)))


BOMBS: dict[str, Callable[[Path], None]] = {
    "1.5 GB of uint8.nii.gz": nifti((1145, 1145, 1145), 2),
    "at the limit, uint8.nii.gz": nifti((500, 500, 500), 2),
    "at the limit, int16.nii.gz": nifti((400, 400, 400), 4),
    "below the limit, int16.nii.gz": nifti((200, 200, 250), 4),
    "below the limit, float32.nii.gz": nifti((200, 200, 150), 16),
    "int32.nii.gz": nifti((350, 350, 300), 8),
    "float64.nii.gz": nifti((300, 300, 300), 64),
    "rescaled.nii.gz": nifti((400, 400, 300), 4, slope=2),
    "40 channels.nii.gz": nifti((200, 200, 200, 40), 2),
    "voxels of 80 mm.nii.gz": nifti((20, 20, 20), 16, (80, 80, 80)),
    "voxels of 8 mm.nii.gz": nifti((40, 40, 40), 4, (8, 8, 8)),
    "slices 1000 km apart.nii.gz": nifti((2, 2, 2), 16, (1, 1, 1e6)),
    "voxels of a micrometre.nii.gz": nifti((300, 300, 300), 2, (1e-3, 1e-3, 1e-3)),
    "1.5 GB.nrrd": nrrd(1145, "uchar", 1),
    "float.nrrd": nrrd(300, "float", 4),
    "1.5 GB.mha": mha(1145, "MET_UCHAR", 1),
    "int.mha": mha(340, "MET_INT", 4),
    "30000 names.nrrd": names,
    "bzip2.zip": lambda path: zeros(path, zipfile.ZIP_BZIP2, ["a.dcm"], 2500),
    "four texts of 900 MB.zip": lambda path: zeros(path, zipfile.ZIP_DEFLATED, list("abcd"), 900, *dicom_slices()),
    "slices of 160 MB.zip": series(large),
    "slices in JPEG 2000.zip": series(jpeg_2000),
    "run lengths.zip": series(run_length),
    "private values of 900 MB.zip": series(private_value),
    "20000 frames.dcm": many_frames,
    "500000 entries.zip": directory,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", default="600MB")
    parser.add_argument("--only", nargs="+", choices=BOMBS)
    asked = parser.parse_args()
    limit_mb = {"MB": 1, "GB": 1000}[asked.limit[-2:]] * float(asked.limit[:-2])
    print("| file | bytes | command | exit | peak / limit | wall, s | said |\n|---|---|---|---|---|---|---|")
    most = 0.0
    with tempfile.TemporaryDirectory() as name:
        write_model(Path(name, "model.safetensors"), model(WINDOW))
        for bomb in asked.only or BOMBS:
            path = Path(name, bomb)
            BOMBS[bomb](path)
            predict = [
                "predict",
                str(Path(name, "model.safetensors")),
                str(path),
                "-o",
                str(Path(name, "out.nii.gz")),
                "--memory-limit",
                asked.limit,
            ]
            for command in (predict, ["info", str(path)]):
                done = measure([sys.executable, "-m", "unetr", *command], must_succeed=False)
                most = max(most, done.peak_mb / limit_mb)
                said = (done.stderr or done.stdout).strip().splitlines()[-1:]
                line = said[0].replace(f"{name}/", "").removeprefix("unetr: ")[:160] if said else ""
                took = (f"{done.peak_mb / limit_mb:.2f}", f"{done.wall_s:.1f}")
                cells = (bomb, path.stat().st_size, command[0], done.code, *took, line)
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            path.unlink()
    print(f"largest peak: {most:.2f} times the limit")
    return int(most >= 1.15)


if __name__ == "__main__":
    sys.exit(main())
