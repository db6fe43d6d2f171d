"""Folders that are this user's alone, for what must not be anybody else's to change.

A folder that cannot be made or trusted is no error here: what is kept in it is a convenience.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from unetr.core.machine.system import NO_FOLLOW, NO_WAIT, close_to_others, is_mine_to_fill, is_private


def private_folder(name: str) -> Path | None:
    """`unetr/NAME` where the platform keeps a user's caches, made with mode 0700 where it is missing.

    None where that is not this user's own folder: there is no home, it is read-only or another's, the folder is a
    link, or others could have written into it.
    """
    try:
        outer = user_cache_path("unetr", appauthor=False)
    except RuntimeError:  # there is no home: a user whom the system does not know, as in a container
        return None
    # Where there is no home, none is made.
    return _own(outer, name) if outer.is_absolute() and outer.parents[1].is_dir() else None


def private_data_folder(name: str) -> Path | None:
    """As `private_folder`, where the platform keeps what a user wants to keep."""
    try:
        outer, home = user_data_path("unetr", appauthor=False), Path.home()
    except RuntimeError:
        return None
    return _own(outer, name) if outer.is_absolute() and home.is_dir() else None


def _own(outer: Path, name: str) -> Path | None:
    folder = outer / name
    try:
        missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        if missing and not is_mine_to_fill(missing[-1].parent):
            return None
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
        if not all(stat.S_ISDIR(path.lstat().st_mode) and is_private(path.lstat()) for path in (outer, folder)):
            return None
        close_to_others(folder)
    except OSError:
        return None
    return folder


def open_private(path: str, flags: int) -> int:
    """An `opener` for files in a private folder. Raises OSError for a link, and for what another may have written.

    What is opened is what was looked at, so that nothing can take its place in between.
    """
    handle = os.open(path, flags | NO_FOLLOW | NO_WAIT)
    found = os.fstat(handle)
    # No name at all: another process of this user's put a new file in its place since it was opened.
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1 and is_private(found):
        return handle
    os.close(handle)
    raise PermissionError(f"{path}: is a link, or others may write to it")
