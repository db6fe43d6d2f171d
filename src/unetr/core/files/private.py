"""Folders that are this user's alone, for what must not be anybody else's to change.

A folder that cannot be made or trusted is no error here: what is kept in it is a convenience.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platformdirs import user_cache_path

_POSIX = os.name == "posix"
_OTHERS_MAY_WRITE = 0o022
_OTHERS_MAY_ANYTHING = 0o077
_REPARSE_POINT = 0x400  # Windows' junctions, which are links by another name
# A link is not followed, and a pipe that somebody put there is not waited for.
_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def private_folder(name: str) -> Path | None:
    """`unetr/NAME` where the platform keeps a user's caches, made with mode 0700 where it is missing.

    None where that is not this user's own folder: there is no home, it is read-only or another's, the folder is a
    link, or others could have written into it.
    """
    outer = user_cache_path("unetr", appauthor=False)
    folder = outer / name
    if not folder.is_absolute():  # there is no home
        return None
    try:
        if not outer.parents[1].is_dir():  # nor is one made
            return None
        missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        if missing and not _mine_to_fill(missing[-1].parent):
            return None
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
        if not all(stat.S_ISDIR(path.lstat().st_mode) and _private(path.lstat()) for path in (outer, folder)):
            return None
        if _POSIX and folder.stat().st_mode & _OTHERS_MAY_ANYTHING:
            folder.chmod(0o700)
    except OSError:
        return None
    return folder


def open_private(path: str, flags: int) -> int:
    """An `opener` for files in a private folder. Raises OSError for a link, and for what another may have written.

    What is opened is what was looked at, so that nothing can take its place in between.
    """
    handle = os.open(path, flags | _OPEN_FLAGS)
    found = os.fstat(handle)
    # No name at all: another process of this user's put a new file in its place since it was opened.
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1 and _private(found):
        return handle
    os.close(handle)
    raise PermissionError(f"{path}: is a link, or others may write to it")


def _private(found: os.stat_result) -> bool:
    """Whether it is this user's, and only theirs to write. On Windows the place's access list sees to that."""
    if not _POSIX:
        return not getattr(found, "st_file_attributes", 0) & _REPARSE_POINT
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_MAY_WRITE


def _mine_to_fill(folder: Path) -> bool:
    """As root with another's HOME, nothing is left in there that they could not remove."""
    return not (_POSIX and os.geteuid() == 0 and folder.stat().st_uid != 0)
