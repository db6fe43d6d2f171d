"""What Python and libraries raise where the machine refuses is told as an error that a person can act on."""

from __future__ import annotations

import errno

import pytest

from unetr.errors import InputError, MachineError, NoRoomError, UnetrError, expected_error


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (ModuleNotFoundError("no", name="monai.networks"), MachineError, r"monai\.networks.*unetr\[peers\]"),
        (ModuleNotFoundError("no", name="torch"), MachineError, r"unetr\[train\]"),
        (MemoryError(), MachineError, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), MachineError, "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to"), MachineError, "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "a.nii"), NoRoomError, "a.nii: No space.*free space"),
        (OSError(errno.EACCES, "Permission denied", "b"), MachineError, "b: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "c" * 300), InputError, "c{80}: File name too long"),
    ],
)
def test_what_can_be_expected(raised: Exception, kind: type[UnetrError], words: str) -> None:
    told = expected_error(raised)
    assert type(told) is kind
    with pytest.raises(kind, match=words):
        raise told  # type: ignore[misc]


def test_an_expected_error_is_itself() -> None:
    error = InputError("a: b", hint="strict")
    assert expected_error(error) is error


@pytest.mark.parametrize(
    "raised",
    [ModuleNotFoundError("no", name="mine"), RuntimeError("shapes differ"), OSError(errno.EPIPE, "x"), ValueError()],
)
def test_a_defect_stays_one(raised: Exception) -> None:
    assert expected_error(raised) is None
