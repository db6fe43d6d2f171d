"""What a power cut would leave: a test's own record of what was flushed to the disk, and when."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest


class Disk:
    """Hears each `os.fsync` of this process from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if sys.platform == "win32":
            pytest.skip("Windows flushes no folders; NTFS keeps a journal of names")
        self._sizes: dict[tuple[int, int], int] = {}
        self._names: dict[tuple[int, int], set[str]] = {}
        flush = os.fsync

        def heard(handle: int) -> None:
            flush(handle)
            self._note(handle)

        monkeypatch.setattr(os, "fsync", heard)

    def has(self, path: Path) -> bool:
        """Whether the bytes of a file as they are now are on the disk, under whatever name."""
        return self._sizes.get(_which(path)) == path.stat().st_size

    def has_under_its_name(self, path: Path, top: Path) -> bool:
        """The same under this name, in folders that are there as well. top: one that was there before."""
        places = [path, *path.parents]
        inner = places[: places.index(top)]
        return self.has(path) and all(each.name in self._names.get(_which(each.parent), ()) for each in inner)

    def _note(self, handle: int) -> None:
        found = os.fstat(handle)
        which = found.st_dev, found.st_ino
        if stat.S_ISDIR(found.st_mode):
            self._names[which] = set(os.listdir(handle))
        else:
            self._sizes[which] = found.st_size


def _which(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
