"""The boundary to untrusted bytes: every exception within is one line that names the file, its cause kept."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetr.core.text.untrusted import reads_untrusted, untrusted
from unetr.errors import InputError, MachineError, StoppedError

PATH = Path("folder/scan.nii.gz")


def endless(depth: int = 0) -> int:
    return endless(depth + 1) + 1


RAISING: dict[str, Callable[[], Any]] = {
    "RecursionError": endless,
    "ValueError of a number of 5000 digits": lambda: int("9" * 5000),
    "OverflowError": lambda: int(float("inf")),
    "zlib.error": lambda: zlib.decompress(b"no"),
    "struct.error": lambda: struct.unpack("<i", b"1"),
    "KeyError": lambda: {}["x"],
    "IndexError": lambda: [][0],
    "UnicodeEncodeError": lambda: "\ud800".encode(),
    "UnicodeDecodeError": lambda: b"\xff".decode(),
    "ZeroDivisionError": lambda: 1 // 0,
    "LinAlgError": lambda: np.linalg.inv(np.zeros((3, 3))),
    "NotImplementedError": lambda: (_ for _ in ()).throw(NotImplementedError()),
    "OSError": lambda: Path("/nowhere/at/all").read_bytes(),
}


@pytest.mark.fault("exceptions at the boundary")
@pytest.mark.parametrize("kind", RAISING)
def test_any_exception_is_a_line_that_names_the_file(kind: str) -> None:
    with pytest.raises(InputError, match=r"folder/scan\.nii\.gz: .*a scan") as raised, untrusted(PATH, "a scan"):
        RAISING[kind]()
    assert raised.value.__cause__ is not None and "\n" not in str(raised.value)


@pytest.mark.fault("exceptions at the boundary")
def test_what_an_exception_says_is_not_repeated() -> None:
    with pytest.raises(InputError) as raised, untrusted(PATH, "a scan"):
        raise ValueError("PatientName Doe^Jane")
    assert "Doe" not in str(raised.value) and "Doe" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "error",
    [InputError("of ours"), MachineError("disk"), StoppedError("stop"), ModuleNotFoundError("x"), KeyboardInterrupt()],
)
def test_what_is_not_the_files_fault_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, untrusted(PATH, "a scan"):
        raise error
    assert raised.value is error


@pytest.mark.fault("exceptions at the boundary")
def test_a_file_too_large_for_memory_is_that_files_fault() -> None:
    @reads_untrusted("a scan")
    def read(_path: Path, count: int) -> bytes:
        return bytes(count)

    assert read(PATH, 2) == b"\0\0"
    with pytest.raises(InputError, match=r"folder/scan\.nii\.gz: does not fit in memory"):
        read(PATH, 2**62)
