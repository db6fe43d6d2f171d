"""The errors that a person can cause or meet, and the exit code that each one ends the command with.

What Python and libraries raise where the machine refuses is told as one of them (`expected_error`). Everything else
that is raised is a defect of this package and shows its traceback.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from unetr.printable import printable

_INSTALL = {
    "torch": "unetr[train]",
    "lightning_fabric": "unetr[train]",
    "tensorboard": "unetr[train]",
    "nilearn": "unetr[demo]",
    "onnxruntime": "unetr[onnx]",
    "highdicom": "unetr[dicom]",
    "fastapi": "unetr[serve]",
    "starlette": "unetr[serve]",
    "uvicorn": "unetr[serve]",
    "sse_starlette": "unetr[serve]",
    "python_multipart": "unetr[serve]",
    "pynetdicom": "unetr[pacs]",
    "httpx": "unetr[pacs]",
    "mcp": "unetr[mcp]",
    "anyio": "unetr[mcp]",
    "ipyniivue": "unetr[notebook]",
    "monai": "unetr[peers]",
    "dynamic_network_architectures": "unetr[peers]",
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_BAD_PATH = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
# What torch says, as a RuntimeError, when an allocation fails on the CPU or on a GPU.
_NO_MEMORY = ("can't allocate memory", "out of memory")
# A name from a file may be megabytes long; a message is for people.
_LONGEST = 4000


class UnetrError(Exception):
    """Base of all expected errors. The message is one line: what was found, what was expected, what to do.

    It speaks to callers from Python and from the command line alike, so it names no command-line option. hint: the
    argument of a function that would change the outcome, such as "strict"; the command line tells its option for it.
    What a terminal would not show as it is (controls, bidi marks) is escaped; see `unetr.printable`.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(printable(" ".join(message.split()), _LONGEST))
        self.hint = hint


class InputError(UnetrError):
    """A file, folder, plan or option that cannot be used as it is. Exit code 2."""

    exit_code = 2


class BatchError(UnetrError):
    """Part of a batch failed and the rest is finished; the report names each failure. Exit code 3."""

    exit_code = 3


class MachineError(UnetrError):
    """The machine refused: disk full, read-only folder, no memory, an optional dependency is missing. Exit code 4."""

    exit_code = 4


class NoRoomError(MachineError):
    """A disk is full, a quota is used up, or a file may not grow: where there is room later, the same goes well."""


class StoppedError(UnetrError):
    """Stopped by SIGTERM. Exit code 143."""

    exit_code = 143


class CancelledError(UnetrError):
    """Stopped by Ctrl-C. Exit code 130."""

    exit_code = 130


def expected_error(error: BaseException) -> UnetrError | None:
    """What is told in place of `error`: a package that is missing, no memory, a file that the system refuses.

    An UnetrError is itself. None for what nobody could expect, which is a defect.
    """
    if isinstance(error, UnetrError):
        return error
    if isinstance(error, ModuleNotFoundError):
        extra = _INSTALL.get((error.name or "").partition(".")[0])
        if extra is None:
            return None
        return MachineError(f"this needs {error.name}, which is not installed; run: pip install '{extra}'")
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    ):
        return MachineError("not enough memory; close other programs, or use a smaller window or batch in the plan")
    return _refused_file(error) if isinstance(error, OSError) else None


def machine_kind(number: int | None) -> type[MachineError]:
    """The kind of error for what the operating system refused with this number (errno)."""
    return NoRoomError if number in _NO_ROOM else MachineError


def _refused_file(error: OSError) -> UnetrError | None:
    """What the operating system refused, outside of the writes that already say it."""
    where = str(error.filename or "a file")
    if error.errno in _BAD_PATH:
        return InputError(f"{where[:80]}: {error.strerror}; expected the path of a file or folder")
    if error.errno in _NO_ROOM | _REFUSED:
        return machine_kind(error.errno)(f"{where}: {error.strerror}; free space or choose another folder")
    return None
