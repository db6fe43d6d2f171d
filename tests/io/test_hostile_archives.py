"""Archives and DICOM files made to cost memory: judged by what they claim, read as far as needed, in one line."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from unetr.core.machine.allowance import DoesNotFitError, memory_limit
from unetr.core.machine.memory import peak_bytes, resident_bytes
from unetr.core.text.untrusted import UnforeseenError
from unetr.errors import InputError
from unetr.io import archive, is_dicom, read_volume
from unetr.io.dicom.volume import read_dicom

MEGABYTE = 10**6
KERNELS_PEAK = Path("/proc/self/clear_refs")
ROOM = 60 * MEGABYTE
SECONDS = 10.0


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> dict[str, bytes]:
    """A sound series by file name."""
    folder = tmp_path_factory.mktemp("series")
    maker.write_series(folder, np.random.default_rng(0).integers(0, 99, (8, 7, 4)).astype(np.int16))
    read_dicom(folder)  # imports what reading needs
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return made.getvalue()


def patched(data: bytes, at: int, form: str, value: int, signature: bytes = b"PK\x01\x02") -> bytes:
    """The field `at` bytes into the first record with this signature, replaced."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(signature) + at, value)
    return bytes(changed)


def with_name(slices: dict[str, bytes], name: str) -> bytes:
    return zipped(slices | {name: b"x"})


def with_link(slices: dict[str, bytes]) -> bytes:
    made = io.BytesIO(zipped(slices))
    with zipfile.ZipFile(made, "a") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return made.getvalue()


def twice(slices: dict[str, bytes]) -> bytes:
    made = io.BytesIO(zipped(slices))
    with zipfile.ZipFile(made, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("0000.dcm", b"other")
    return made.getvalue()


def overlapping(slices: dict[str, bytes]) -> bytes:
    """The second entry's place is the first one's."""
    data = zipped(slices)
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    changed = bytearray(data)
    struct.pack_into("<I", changed, second + 42, 0)
    return bytes(changed)


def nameless(slices: dict[str, bytes]) -> bytes:
    """An entry without a name: found by fuzzing."""
    data = zipped(slices)
    at = data.index(b"PK\x01\x02")
    return data[:at] + data[at : at + 28] + b"\0\0" + data[at + 30 : at + 46] + data[at + 54 :]


REFUSED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "another method": lambda s: zipped({"a.dcm": bytes(30 * MEGABYTE)} | s, zipfile.ZIP_BZIP2),
    "lzma": lambda s: zipped(s, zipfile.ZIP_LZMA),
    "claims 4 GB": lambda s: patched(zipped(s), 24, "<I", 0xFFFFFFF0),
    "claims less": lambda s: patched(zipped(s), 24, "<I", 200),
    "ends beyond": lambda s: patched(zipped(s), 20, "<I", 0x7FFFFFFF),
    "overlapping": overlapping,
    "twice": twice,
    "encrypted": lambda s: patched(zipped(s), 8, "<H", 1),
    "above the folder": lambda s: with_name(s, "../../x.dcm"),
    "absolute": lambda s: with_name(s, "/etc/x.dcm"),
    "drive": lambda s: with_name(s, "C:/x.dcm"),
    "backslashes": lambda s: with_name(s, "a\\..\\..\\x.dcm"),
    "control characters": lambda s: with_name(s, "a\x1b[31m.dcm"),
    "link": with_link,
    "no name": nameless,
    "wrong checksum": lambda s: patched(zipped(s), 16, "<I", 12345),
    "no directory": lambda s: zipped(s)[:-30],
    "directory of 2 GB": lambda s: patched(zipped(s), 12, "<I", 0x7FFFFFFF, b"PK\x05\x06"),
}
ACCEPTED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "sound": zipped,
    "stored": lambda s: zipped(s, zipfile.ZIP_STORED),
    "text of 200 MB beside": lambda s: zipped({"note.txt": bytes(200 * MEGABYTE)} | s),
    "archive within": lambda s: zipped({"inner.zip": zipped({"x": bytes(50 * MEGABYTE)})} | s),
    "folders and hidden files": lambda s: zipped(
        {"study/": b"", "study/.x": b"1", **{f"study/{n}": c for n, c in s.items()}}
    ),
}


@contextmanager
def little_memory_and_time() -> Iterator[None]:
    started = time.process_time()
    tracemalloc.start()
    try:
        with memory_limit(resident_bytes() + ROOM):
            yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < ROOM and time.process_time() - started < SECONDS


@pytest.mark.fault("hostile archives")
@pytest.mark.parametrize("kind", [*REFUSED, *ACCEPTED])
def test_an_archive_is_judged_in_little_memory(kind: str, slices: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "scan.zip"
    path.write_bytes((REFUSED | ACCEPTED)[kind](slices))
    with little_memory_and_time():
        assert is_dicom(path)
        try:
            shape = read_dicom(path).shape
        except UnforeseenError:
            raise
        except InputError as error:
            assert kind in REFUSED and str(error).startswith(str(path)), error
        else:
            assert kind in ACCEPTED and shape == (8, 7, 4)
    assert [found.name for found in tmp_path.iterdir()] == ["scan.zip"]


@pytest.mark.parametrize(
    ("bound", "words"),
    [("_MOST_BYTES", "unpacks to"), ("_MOST_ENTRIES", "holds 4 files"), ("_MOST_ENTRY_BYTES", "claims")],
)
def test_what_is_sound_is_bounded_as_well(
    bound: str, words: str, slices: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bound by itself, made small; at the sizes that it has no test could make such a file."""
    path = tmp_path / "scan.zip"
    path.write_bytes(zipped(slices))
    monkeypatch.setattr(archive, bound, 3)
    with pytest.raises(InputError, match=words):
        read_dicom(path)


@pytest.mark.fault("hostile archives")
def test_a_directory_of_a_million_entries(tmp_path: Path) -> None:
    path = tmp_path / "scan.zip"
    record = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    count = 1_000_000
    end = b"PK\x05\x06" + bytes(4) + struct.pack("<HHIIH", 0xFFFF, 0xFFFF, len(record) * count, 0, 0)
    path.write_bytes(record * count + end)
    with little_memory_and_time(), pytest.raises(InputError, match=r"scan\.zip"):
        read_dicom(path)


def changed(content: bytes, change: Callable[[pydicom.Dataset], None]) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(content))
    change(dataset)
    made = io.BytesIO()
    dataset.save_as(made)
    return made.getvalue()


def large_pixels(dataset: pydicom.Dataset) -> None:
    """18 MB of zeros for each slice."""
    dataset.Rows = dataset.Columns = 3000
    dataset.PixelData = bytes(2 * 3000 * 3000)


def run_length(dataset: pydicom.Dataset) -> None:
    """A frame of 8x7 pixels that unpacks to twice 320 MB."""
    dataset.compress(RLELossless)
    head = struct.pack("<16I", 2, 64, 64 + 2 * 2_500_000, *[0] * 13)
    dataset.PixelData = pydicom.encaps.encapsulate([head + b"\x81\x00" * 5_000_000])


def private_value(dataset: pydicom.Dataset) -> None:
    """A value of 100 MB before the pixels."""
    dataset.add_new(0x00091001, "OB", bytes(100 * MEGABYTE))


@pytest.mark.fault("hostile archives")
@pytest.mark.parametrize("change", [large_pixels, run_length, private_value])
def test_dicom_beyond_the_memory_is_refused(
    change: Callable[[pydicom.Dataset], None], slices: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "scan.zip"
    path.write_bytes(zipped({name: changed(content, change) for name, content in slices.items()}))
    assert path.stat().st_size < MEGABYTE
    with little_memory_and_time(), pytest.raises(DoesNotFitError, match=r"scan\.zip.*needs at least"):
        read_volume(path)


@pytest.mark.fault("hostile archives")
@pytest.mark.parametrize("ends", ["by length", "by mark"])
def test_a_million_frames_without_a_word_on_any(ends: str, maker: ModuleType, tmp_path: Path) -> None:
    """Eight bytes each in the file, 700 in memory."""
    maker.write_enhanced(tmp_path / "sound.dcm", np.zeros((4, 4, 3), np.int16))
    dataset = pydicom.dcmread(tmp_path / "sound.dcm")
    dataset.NumberOfFrames = 1_000_000
    del dataset.PerFrameFunctionalGroupsSequence
    made = io.BytesIO()
    dataset.save_as(made)
    item, end = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    length = 8_000_000 if ends == "by length" else 0xFFFFFFFF
    frames = struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, length) + item * 1_000_000
    at = made.getvalue().index(struct.pack("<HH", 0x7FE0, 0x0010))
    content = made.getvalue()[:at] + frames + (end if ends == "by mark" else b"") + made.getvalue()[at:]
    (tmp_path / "scan.zip").write_bytes(zipped({"a.dcm": content}))
    before = resident_bytes()
    with memory_limit(before + ROOM), pytest.raises(InputError, match=r"scan\.zip"):
        read_volume(tmp_path / "scan.zip")
    assert resident_bytes() < before + 2 * ROOM


@pytest.mark.fault("hostile archives")
@pytest.mark.skipif(not KERNELS_PEAK.exists(), reason="this system does not tell a process's peak memory anew")
def test_a_header_that_does_not_fit_beside_others_is_not_read(slices: dict[str, bytes], tmp_path: Path) -> None:
    """Without pixels: a quarter of a million elements in one file."""
    first = next(iter(slices.values()))
    dataset = pydicom.dcmread(io.BytesIO(first))
    many = io.BytesIO()
    dataset.save_as(many)
    element = b"".join(
        struct.pack("<HH2sH", 0x0009 + 2 * (i // 60_000), 0x1000 + i % 60_000, b"SH", 0) for i in range(250_000)
    )
    content = many.getvalue()
    at = content.index(struct.pack("<HH", 0x0010, 0x0010))
    path = tmp_path / "a.dcm"
    path.write_bytes(content[:at] + element + content[at:])
    # Many small things may go where others of the same process were, so that only the kernel's peak can be held.
    KERNELS_PEAK.write_text("5")  # begins it again
    before, started = resident_bytes(), time.process_time()
    with memory_limit(before + ROOM), pytest.raises(InputError, match=r"a\.dcm"):
        read_volume(path)
    assert peak_bytes() < before + ROOM and time.process_time() - started < SECONDS
