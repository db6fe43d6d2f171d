"""The byte budget: what is asked for is what is taken, and what cannot be had is refused before it is taken."""

from __future__ import annotations

import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unetr.core.machine.allowance
import unetr.core.space.geometry
from unetr.core.machine.allowance import Claim, DoesNotFitError, admit, memory_limit, reading
from unetr.core.machine.memory import resident_bytes
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.io import read_label, read_volume
from unetr.prepare.preprocess import preprocess_image, preprocess_label

MEGABYTE = 10**6
SHAPE = (60, 70, 80)


def deflated_zeros(path: Path, head: bytes, count: int, wbits: int, plain: bytes = b"") -> Path:
    """A file of `plain`, then compressed: `head` and so many bytes of zero."""
    squeeze = zlib.compressobj(1, wbits=wbits)
    with path.open("wb") as file:
        file.write(plain + squeeze.compress(head))
        while count:
            piece = min(count, 1 << 22)
            file.write(squeeze.compress(bytes(piece)))
            count -= piece
        file.write(squeeze.flush())
    return path


def nifti_bomb(path: Path, sizes: tuple[int, ...], code: int, bits: int, *, slope: float = 0) -> Path:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(sizes), *sizes, *[1] * (7 - len(sizes)))
    struct.pack_into("<2h", head, 70, code, bits)
    struct.pack_into("<8f3f", head, 76, 1, 1, 1, 1, 0, 0, 0, 0, 352, slope, 0)
    struct.pack_into("<2h", head, 252, 0, 1)
    for axis in range(3):
        struct.pack_into("<4f", head, 280 + 16 * axis, *(float(axis == other) for other in range(3)), 0)
    head[344:348] = b"n+1\0"
    return deflated_zeros(path, bytes(head), int(np.prod(sizes)) * bits // 8, 31)


def nrrd_bomb(path: Path) -> Path:
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 300 300 300\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: gzip\n\n"
    )
    return deflated_zeros(path, b"", 2 * 300**3, 31, head.encode())


def mha_bomb(path: Path) -> Path:
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        "Offset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 300 300 300\nElementType = MET_SHORT\n"
        "ElementDataFile = LOCAL\n"
    )
    return deflated_zeros(path, b"", 2 * 300**3, 15, head.encode())


BOMBS: dict[str, Callable[[Path], Path]] = {
    "uint8.nii.gz": lambda path: nifti_bomb(path, (300, 300, 600), 2, 8),
    "int16.nii.gz": lambda path: nifti_bomb(path, (300, 300, 300), 4, 16),
    "rescaled.nii.gz": lambda path: nifti_bomb(path, (200, 300, 300), 2, 8, slope=2),
    "float64.nii.gz": lambda path: nifti_bomb(path, (200, 200, 200), 64, 64),
    "channels.nii.gz": lambda path: nifti_bomb(path, (100, 100, 100, 50), 2, 8),
    "short.nrrd": nrrd_bomb,
    "short.mha": mha_bomb,
}


@pytest.mark.fault("decompression bombs")
@pytest.mark.parametrize("read", [read_volume, read_label])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_its_voxels_are_in_memory(
    name: str, read: Callable[[Path], Volume], tmp_path: Path
) -> None:
    path = BOMBS[name](tmp_path / name)
    assert path.stat().st_size < MEGABYTE
    read_volume(nifti_bomb(tmp_path / "first.nii.gz", (2, 2, 2), 2, 8))  # imports what reading needs
    before = resident_bytes()
    tracemalloc.start()
    with (
        memory_limit(before + 40 * MEGABYTE),
        pytest.raises(DoesNotFitError, match="needs at least") as raised,
    ):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MEGABYTE and str(raised.value).startswith(str(path)) and raised.value.hint == "memory_limit"


@pytest.mark.fault("decompression bombs")
@pytest.mark.parametrize("name", ["small.nii.gz"])
def test_what_fits_is_read(name: str, tmp_path: Path) -> None:
    path = nifti_bomb(tmp_path / name, (100, 100, 100), 4, 16)
    with memory_limit(resident_bytes() + 80 * MEGABYTE):
        assert read_volume(path).shape == (100, 100, 100)


@pytest.mark.fault("decompression bombs")
def test_without_a_limit_what_is_free_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nifti_bomb(tmp_path / "scan.nii.gz", (300, 300, 300), 4, 16)
    monkeypatch.setattr(unetr.core.machine.allowance, "free_bytes", lambda: 40 * MEGABYTE)
    with pytest.raises(DoesNotFitError, match=r"needs 0\.\d\d GB of memory .* 0\.04 GB that are free"):
        read_volume(path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was asked for, in bytes, before each grid was made."""
    found: list[int] = []
    monkeypatch.setattr(unetr.core.space.geometry, "admit", lambda _source, needed, *_, **__: found.append(needed))
    monkeypatch.setattr(unetr.core.space.geometry, "_ALWAYS_GRANTED", 0)
    return found


def taken(work: Callable[[], Any]) -> int:
    work()  # what is imported and kept at the first time does not count
    tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


@pytest.mark.fault("memory estimates")
@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 2, 2), (0.6, 0.6, 3), (1, 1, 0.4), (30, 0.1, 1)])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
@pytest.mark.parametrize(("normalisation", "channels"), [("zscore", 1), ("zscore", 3), ("range", 2), ("none", 1)])
def test_preparing_takes_no_more_than_is_asked_for(
    spacing: tuple[float, ...],
    dtype: str,
    normalisation: str,
    channels: int,
    tiny_plan: Plan,
    asked: list[int],
) -> None:
    limits = {"low": 0.0, "high": 90.0} if normalisation == "range" else {}
    names = [ChannelPlan(name=f"c{i}", normalisation=normalisation, **limits) for i in range(channels)]  # type: ignore[arg-type]
    plan = tiny_plan.model_copy(update={"channels": tuple(names)})
    numbers = (np.random.default_rng(0).random((*SHAPE[::-1], channels)) * 100).astype(dtype).T
    volume = Volume(numbers, np.diag([*spacing, 1.0]))
    peak = taken(lambda: preprocess_image(volume, plan))
    assert peak <= asked[-1] + MEGABYTE
    assert asked[-1] <= 4 * peak + 16 * MEGABYTE


@pytest.mark.fault("memory estimates")
@pytest.mark.parametrize("spacing", [(2, 2, 2), (0.6, 0.6, 3), (1, 1, 0.4)])
def test_preparing_a_label_takes_no_more_than_is_asked_for(
    spacing: tuple[float, ...], tiny_plan: Plan, asked: list[int]
) -> None:
    values = np.random.default_rng(0).integers(0, 3, (1, *SHAPE)).astype(np.uint8)
    volume = Volume(values, np.diag([*spacing, 1.0]))
    peak = taken(lambda: preprocess_label(volume, tiny_plan))
    assert peak <= asked[-1] + MEGABYTE


@pytest.mark.fault("memory estimates")
@pytest.mark.parametrize("spacing", [(80, 80, 80), (1, 1, 3e8), (1e30, 1, 1), (1e300, 1e300, 1)])
def test_a_grid_beyond_the_memory_is_refused(spacing: tuple[float, ...], tiny_plan: Plan) -> None:
    volume = Volume(np.ones((1, 40, 40, 40), np.float32), np.diag([*spacing, 1.0]))
    tracemalloc.start()
    with memory_limit(resident_bytes() + 400 * MEGABYTE), pytest.raises(InputError, match="the scan: "):
        preprocess_image(volume, tiny_plan)
    assert tracemalloc.get_traced_memory()[1] < 4 * MEGABYTE
    tracemalloc.stop()


def test_who_reads_beside_waits_until_the_other_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unetr.core.machine.allowance, "free_bytes", lambda: 100 * MEGABYTE)
    order: list[str] = []
    granted = threading.Event()

    def first() -> None:
        with reading():
            admit("first", 60 * MEGABYTE, "")
            granted.set()
            time.sleep(0.2)
            order.append("first is read")

    thread = threading.Thread(target=first)
    thread.start()
    granted.wait()
    with reading():
        admit("second", 60 * MEGABYTE, "")
        order.append("second is granted")
    thread.join()
    assert order == ["first is read", "second is granted"]


def test_what_is_granted_outside_of_reading_or_to_who_is_done_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unetr.core.machine.allowance, "free_bytes", lambda: 100 * MEGABYTE)

    def other() -> None:
        admit("a grid", 60 * MEGABYTE, "")
        with reading():
            admit("a scan", 60 * MEGABYTE, "")
            with reading(), pytest.raises(DoesNotFitError):
                admit("a larger one", 160 * MEGABYTE, "")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    started = time.monotonic()
    admit("mine", 60 * MEGABYTE, "")
    assert time.monotonic() - started < 5


def test_what_a_claim_comes_to_by_hand() -> None:
    assert Claim((10, 10, 10), 2, np.dtype("i2")).reading_bytes() == 4000
    assert Claim((10, 10, 10), 1, np.dtype("f8")).reading_bytes() == 9000
    assert Claim((10, 10, 10), 1, np.dtype("u1"), rescaled=True, beside_bytes=7).reading_bytes() == 6007
