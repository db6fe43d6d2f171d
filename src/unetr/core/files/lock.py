"""One process at a time in a folder, or at a file. The operating system holds the lock, so it ends with its process.

The lock file, hidden beside what it guards, is removed at the end. A kill leaves it behind, which does no harm: what
counts is whether a living process holds it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from unetr.core.files.atomic import machine_error
from unetr.core.files.outputs import folded
from unetr.errors import InputError, MachineError

_NAME = ".unetr-lock"
_LONGEST_NOTE = 200
# What network file systems without locks say.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
# Long enough for another process that only looks whether the folder is in use, or that is about to leave it.
_WAIT_S = 1.0

Note = Callable[[str], None]
"""Called with a line for people."""


def _unheard(_: str) -> None:
    """Nobody to tell."""


@contextmanager
def locked(folder: Path, note: Note = _unheard, mode: int = 0o777) -> Iterator[None]:
    """Keeps other processes out of `folder`, which is made if it is missing, and removed again if it stays empty.

    note: is told where the file system has no locks, and the work goes on without. mode: of a folder that is made.
    Raises InputError that names the process inside, as far as it is known; MachineError where nothing can be written.
    """
    made = _made(folder, folder, mode)
    try:
        with _holding(folder / _NAME, folder, note):
            yield
    finally:
        _remove_empty(made)


@contextmanager
def locked_files(paths: Sequence[Path], note: Note = _unheard, mode: int = 0o777) -> Iterator[None]:
    """Keeps other processes from writing these files; their folders may be in use for other files.

    Raises InputError where a process holds one of the files; MachineError where nothing can be written.
    """
    with ExitStack() as held:
        made: list[Path] = []
        held.callback(_remove_empty, made)
        # In one order in all processes, and the same file by two names only once.
        for lock, path in sorted({_lock_of(path): path for path in paths}.items()):
            made += _made(path.parent, path, mode)
            held.enter_context(_holding(lock, path, note))
        yield


def refuse_locked(folder: Path) -> None:
    """Raises InputError where another process is in `folder`; it may come as soon as this has returned."""
    if (folder / _NAME).exists():
        with _holding(folder / _NAME, folder, _unheard):
            pass


def _lock_of(path: Path) -> Path:
    """Names that a file system may take for one have one lock."""
    digest = hashlib.sha256(folded(path.name).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return path.parent / f"{_NAME}-{digest}"


@contextmanager
def _holding(lock: Path, guarded: Path, note: Note) -> Iterator[None]:
    # No other kind of lock where there is none of the system's: that would outlast a kill.
    held = FileLock(lock, timeout=_WAIT_S, fallback_to_soft=False)
    try:
        held.acquire()
    except Timeout:
        raise InputError(
            f"{guarded}: is being written by another process{_owner(lock)}; wait until it ends, or choose another "
            "output"
        ) from None
    except OSError as error:
        if isinstance(error, PermissionError) and lock.exists():
            raise MachineError(
                f"{guarded}: {lock.name} there is another user's; if their run is over, remove it, or choose another "
                "output"
            ) from error
        if error.errno not in _NO_LOCKS:
            raise machine_error(guarded, error) from error
        note(f"{guarded}: this file system has no locks; let no other process write there meanwhile")
        yield
        return
    try:
        with suppress(OSError):  # on Windows, a locked file cannot be written or removed
            lock.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        # Removed while it is held: who waits for it finds out that its name is gone, and takes a new one.
        with suppress(OSError):
            lock.unlink()
        held.release()


def _owner(lock: Path) -> str:
    """Who wrote into a lock file, in brackets; nothing where that cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        text = lock.read_text(encoding="utf-8")[:_LONGEST_NOTE]
        if text.isprintable() and text:
            return f" ({text})"
    return ""


def _made(folder: Path, guarded: Path, mode: int) -> list[Path]:
    """Makes a folder and those above it; returns those that were missing, the outermost first. Raises MachineError."""
    missing = []
    above = folder
    while not above.exists() and above != above.parent:
        missing.append(above)
        above = above.parent
    missing.reverse()
    try:
        for path in missing:
            path.mkdir(mode=mode if path == folder else 0o777, exist_ok=True)
        if not folder.is_dir():
            folder.mkdir()
    except OSError as error:
        raise machine_error(guarded, error) from error
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    """The operating system removes a folder only where it is empty."""
    for path in reversed(folders):
        with suppress(OSError):
            path.rmdir()
