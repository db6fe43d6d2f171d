"""Writing that is all or nothing: a temporary file in the same folder, checked, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unetr.core.files.outputs import is_claimed, record
from unetr.core.machine.system import flush_to_disk
from unetr.errors import MachineError, machine_kind

_MACHINE_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than a file may be there",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reported an input/output error",
    errno.ENOTDIR: "part of the path is a file, not a folder",
    errno.EEXIST: "part of the path is a file, not a folder",
    errno.EISDIR: "a folder is in its place",
    errno.ENAMETOOLONG: "the name is too long",
}
_LONGEST_SUFFIXES = 16
# What `atomic_path` names its temporary files.
_LEFTOVER = re.compile(r"\.unetr-[0-9a-f]{12}(\.[^/]*)?")


def machine_error(path: Path, error: OSError) -> MachineError:
    """The one-line error for a write that the operating system refused; a NoRoomError where room alone is missing."""
    # numpy reports a short write without error number: "4608 requested and 992 written".
    number = errno.ENOSPC if error.errno is None and str(error).endswith("written") else error.errno or 0
    what = _MACHINE_ERRORS.get(number, error.strerror or str(error))
    return machine_kind(number)(f"{path}: cannot be written: {what}; free space or choose another output")


@contextmanager
def atomic_path(path: Path, verify: Callable[[Path], None] | None = None, *, private: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success flushes, verifies and renames it, on failure removes it.

    The temporary name keeps the suffixes of `path`, since libraries choose the format by them, and starts with a dot,
    so that no folder listing takes it for a result. `verify` reads the temporary file and raises if it is
    not what was meant.
    private: whether only the user may read it, as what shows or names patients; then so is a folder that is made for
    it. What was claimed as an output (`outputs.py`) is noted in the list of its folder.
    Raises MachineError (exit code 4) when the operating system refuses.
    """
    suffixes = "".join(path.suffixes[-2:])
    if len(suffixes) > _LONGEST_SUFFIXES:  # a sentence with a dot in it
        suffixes = path.suffix
    temporary = path.with_name(f".unetr-{secrets.token_hex(6)}{suffixes}")
    try:
        path.parent.mkdir(0o700 if private else 0o777, parents=True, exist_ok=True)
        # Made here, since a mode that is set later comes too late.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666))
        yield temporary
        flush_to_disk(temporary)
        if verify is not None:
            verify(temporary)
        if is_claimed(path):
            record(path, temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    except OSError as error:
        raise machine_error(path, error) from error
    finally:
        # Where the folder is no folder, even removing is refused; the first error is the one to tell.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, private: bool = True) -> None:
    """Writes UTF-8 text atomically. private: see `atomic_path`."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")  # the same bytes on every system


def is_leftover(path: Path) -> bool:
    """Whether the name is that of a temporary file, which only a killed process leaves behind."""
    return _LEFTOVER.fullmatch(path.name) is not None


def is_own(path: Path) -> bool:
    """Whether the name is one that this program gives to what it hides: temporary files, locks, lists of outputs."""
    return path.name.startswith((".unetr-", ".unetr_"))


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Removes the temporary files that killed runs left directly in `folders`. No other run may be writing there."""
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if is_leftover(path) and path.is_file():
                path.unlink(missing_ok=True)
