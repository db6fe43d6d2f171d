"""DICOM that is damaged: hundreds of seeded faults, none accepted silently, and archives that claim what is not so."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless

from unetr.errors import InputError, UnetrError
from unetr.io.dicom.volume import is_dicom, read_dicom

SHAPE = (9, 8, 6)
VOXELS = np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)


def archive_of(maker: ModuleType, folder: Path, **changes: Any) -> bytes:
    """A sound zip archive's bytes."""
    maker.write_series(folder, VOXELS, **changes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../x.dcm", "/x.dcm", "a/../../x.dcm", "C:/x.dcm", "..\\x.dcm", "a\x1b[2Jx.dcm"])
def test_zip_with_unsafe_names(tmp_path: Path, maker: ModuleType, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive_of(maker, tmp_path / "s"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match="unsafe name") as raised:
        read_dicom(path)
    assert "\x1b" not in str(raised.value)


def test_zip_bombs(tmp_path: Path, maker: ModuleType) -> None:
    path = tmp_path / "a.zip"
    sound = archive_of(maker, tmp_path / "s")
    directory = sound.index(b"PK\x01\x02")
    claimed = bytearray(sound)  # one entry that claims 3 GB
    claimed[directory + 24 : directory + 28] = struct.pack("<I", 3 << 30)
    path.write_bytes(claimed)
    with pytest.raises(InputError, match="claims 3221225472 bytes from"):
        read_dicom(path)
    overlapping = bytearray(sound)  # entries that together claim more than the archive has
    for start in range(len(sound)):
        if sound[start : start + 4] == b"PK\x01\x02":
            overlapping[start + 20 : start + 24] = struct.pack("<I", len(sound) // 2)
    path.write_bytes(overlapping)
    with pytest.raises(InputError, match="claim more compressed bytes"):
        read_dicom(path)


def test_zip_of_other_kinds(tmp_path: Path, maker: ModuleType) -> None:
    path = tmp_path / "a.zip"
    sound = bytearray(archive_of(maker, tmp_path / "s"))
    for start in range(len(sound)):
        if sound[start : start + 4] == b"PK\x01\x02":
            sound[start + 8] |= 1
    path.write_bytes(sound)
    with pytest.raises(InputError, match="is encrypted"):
        read_dicom(path)
    assert is_dicom(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.dcm", bytes(1000))
    with pytest.raises(InputError, match="compressed by method 14"):
        read_dicom(path)
    link = zipfile.ZipInfo("x.dcm")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        read_dicom(path)


# Seeded damage. Each takes the six files' bytes and a generator, and returns the damaged files by name.
Files = dict[str, bytes]


def pixel_start(content: bytes) -> int:
    return content.rindex(b"\xe0\x7f\x10\x00")


def truncated(files: Files, rng: np.random.Generator) -> Files:
    name = str(rng.choice(sorted(files)))
    return files | {name: files[name][: rng.integers(0, len(files[name]))]}


def cut_in_header(files: Files, rng: np.random.Generator) -> Files:
    """Some bytes of a header are lost; all that follows moves."""
    name = str(rng.choice(sorted(files)))
    start = int(rng.integers(0, pixel_start(files[name])))
    return files | {name: files[name][:start] + files[name][start + int(rng.integers(1, 60)) :]}


def removed(files: Files, rng: np.random.Generator) -> Files:
    inner = sorted(files)[1:-1]
    gone = set(rng.choice(inner, int(rng.integers(1, 3)), replace=False))
    return {name: content for name, content in files.items() if name not in gone}


def repeated(files: Files, rng: np.random.Generator) -> Files:
    return files | {"copy.dcm": files[str(rng.choice(sorted(files)))]}


def pixels_missing(files: Files, rng: np.random.Generator) -> Files:
    """Pixel data shorter than its header says, its length corrected: only the byte count can tell."""
    name = str(rng.choice(sorted(files)))
    start = pixel_start(files[name])
    length = int(rng.integers(0, 72)) * 2
    return files | {name: files[name][: start + 8] + struct.pack("<I", length) + files[name][start + 12 :][:length]}


def overwritten(files: Files, rng: np.random.Generator) -> Files:
    """A geometry attribute of one slice filled with nonsense of the same length."""
    name = str(rng.choice(sorted(files)))
    tag, vr = [(0x0020_0032, b"DS"), (0x0020_0037, b"DS"), (0x0028_0030, b"DS")][int(rng.integers(3))]
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    start = files[name].index(head)
    (length,) = struct.unpack("<H", files[name][start + 6 : start + 8])
    nonsense = [b"nan", b"inf", b"\0", b"\xff", b"abc", b"\\", b" ", b"9e999"][int(rng.integers(8))]
    value = (nonsense * length)[:length]
    return files | {name: files[name][: start + 8] + value + files[name][start + 8 + length :]}


def flipped_in_zip(files: Files, rng: np.random.Generator) -> Files:
    """One byte of an archive. Its places are chosen where it matters: names and times are not the scan's."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        data_starts = [info.header_offset + 30 + len(info.filename) for info in archive.infolist()]
        sizes = [info.compress_size for info in archive.infolist()]
    content = bytearray(buffer.getvalue())
    which = int(rng.integers(len(sizes)))
    content[data_starts[which] + int(rng.integers(sizes[which]))] ^= int(rng.integers(1, 256))
    return {"scan.zip": bytes(content)}


def shortened_zip(files: Files, rng: np.random.Generator) -> Files:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return {"scan.zip": buffer.getvalue()[: int(rng.integers(1, len(buffer.getvalue())))]}


DAMAGES = [
    *(truncated, cut_in_header, removed, repeated, pixels_missing, overwritten, flipped_in_zip, shortened_zip),
]
EACH = 40


def sound_files(maker: ModuleType, folder: Path) -> Files:
    maker.write_series(folder, VOXELS, orientation="oblique", spacing_mm=(0.7, 0.9, 3), modality="CT")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_no_damage_is_accepted_silently(
    tmp_path: Path, maker: ModuleType, damage: Callable[[Files, np.random.Generator], Files]
) -> None:
    """Refused with one of the expected errors, or, where the damage hit what is not used, read as it was."""
    files = sound_files(maker, tmp_path / "sound")
    sound = read_dicom(tmp_path / "sound")
    wrong, accepted = [], 0
    for seed in range(EACH):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for name, content in damage(files, np.random.default_rng(seed)).items():
            (folder / name).write_bytes(content)
        path = folder / "scan.zip" if (folder / "scan.zip").exists() else folder
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = read_dicom(path)
            except UnetrError as error:
                assert maker.PATIENT_NAME not in str(error)
                assert str(folder) in str(error)
                continue
        accepted += 1
        if not np.array_equal(found.data, sound.data) or not np.allclose(found.affine, sound.affine, atol=1e-6):
            wrong.append(seed)
    assert not wrong
    assert accepted <= (EACH // 2 if damage in (cut_in_header, flipped_in_zip) else 0)


@pytest.mark.parametrize("kind", ["native", "enhanced", "compressed"])
def test_random_bytes_end_in_an_expected_error_or_a_volume(tmp_path: Path, maker: ModuleType, kind: str) -> None:
    """Any other exception would be a traceback for a person who has a damaged file."""
    rng = np.random.default_rng(0)
    if kind == "enhanced":
        maker.write_enhanced(tmp_path / "e.dcm", VOXELS)
    else:
        syntax = {"transfer_syntax": JPEG2000Lossless} if kind == "compressed" else {}
        maker.write_series(tmp_path, rng.integers(0, 99, (64, 64, 3), dtype=np.uint16), **syntax)
    paths = sorted(tmp_path.iterdir())
    refused = 0
    for _ in range(60):
        path = paths[int(rng.integers(len(paths)))]
        sound = path.read_bytes()
        content = bytearray(sound)
        for at in rng.integers(132, len(sound), int(rng.integers(1, 9))):
            content[int(at)] = int(rng.integers(256))
        path.write_bytes(content)
        try:
            assert np.isfinite(read_dicom(tmp_path).data).all()
        except UnetrError as error:
            refused += 1
            assert maker.PATIENT_NAME not in str(error)
        path.write_bytes(sound)
    assert refused > 10
