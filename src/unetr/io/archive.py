"""Zip archives that are not trusted: judged by their directory alone before any entry is read, and read in memory only.

Nothing is ever unpacked to disk. What an entry claims is compared with what its bytes can hold; reading stops at the
size that the directory says, and ends with its checksum.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO

from unetr.core.machine.allowance import admit
from unetr.errors import InputError, UnetrError

READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Deflate cannot expand by more than this (zlib.net/zlib_tech.html: 1032 to 1).
_MOST_EXPANSION = 1032
# Largest archives that are read: a whole study of many series is below 10 GB, one enhanced instance below 2 GB.
_MOST_BYTES = 64 << 30
_MOST_ENTRY_BYTES = 4 << 30
_MOST_ENTRIES = 200_000
_MOST_DIRECTORY_BYTES = 32 << 20
# Of memory for each byte of the directory: an entry of 60 bytes becomes an object of about 600.
_DIRECTORY_COST = 12
_SMALL_READ = 1 << 20
_LOCAL_HEADER_BYTES = 30


class _Directory(io.RawIOBase):
    """An open archive that does not give away a directory without end while it is `opening`."""

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self._path = path
        self._handle = handle
        self._size = path.stat().st_size
        self.opening = True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        return self._handle.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._size - self._handle.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if self.opening and wanted > _SMALL_READ:
            if wanted > _MOST_DIRECTORY_BYTES:
                raise InputError(f"{self._path}: has a directory of {wanted} bytes; expected a zip of DICOM files")
            admit(self._path, _DIRECTORY_COST * wanted, "for the list of its files")
        return self._handle.read(wanted)


@contextmanager
def open_archive(path: Path, handle: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive in an open file. Raises InputError where it is damaged or its directory is too long."""
    directory = _Directory(path, handle)
    try:
        archive = zipfile.ZipFile(directory)
    except (UnetrError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{path}: is not a sound zip archive ({reason_of(error)}); copy it again") from error
    directory.opening = False
    with archive:
        yield archive


def checked_entries(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The archive's files by name, without hidden ones, after all of its claims have been judged. Raises InputError."""
    every = archive.infolist()
    if not all(info.filename for info in every):  # of which the library cannot say whether they are folders
        raise InputError(f"{path}: has an entry without a name; expected names below a folder")
    infos = sorted((info for info in every if not info.is_dir()), key=lambda info: info.filename)
    if len(infos) > _MOST_ENTRIES:
        raise InputError(f"{path}: holds {len(infos)} files; expected at most {_MOST_ENTRIES}")
    for info in infos:
        _check_entry(path, info)
    name, times = Counter(info.filename for info in infos).most_common(1)[0] if infos else ("", 0)
    if times > 1:
        raise InputError(f"{path}/{name}: is in the archive {times} times; expected once")
    _check_places(path, every)
    total = sum(info.file_size for info in infos)
    if total > _MOST_BYTES:
        raise InputError(f"{path}: unpacks to {total / 2**30:.0f} GiB; expected at most {_MOST_BYTES >> 30} GiB")
    return [info for info in infos if not PurePosixPath(info.filename).name.startswith(".")]


def entry_stream(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """An entry's bytes, unpacked as they are asked for. Raises InputError where there is no such entry."""
    try:
        return archive.open(info)
    except (UnetrError, MemoryError):
        raise
    except Exception as error:
        raise damaged(path, info, error) from error


def damaged(path: Path, info: zipfile.ZipInfo, error: Exception) -> InputError:
    """What to say of an entry whose reading raised an error."""
    return InputError(f"{path}/{info.filename}: is damaged in the archive ({reason_of(error)}); copy it again")


def reason_of(error: Exception) -> str:
    """An error of the zip library for people, without any bytes of the file."""
    return "wrong checksum" if "CRC" in str(error) else type(error).__name__


def _check_entry(path: Path, info: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    elsewhere = not parts or parts[0].startswith("/") or parts[0].endswith(":") or ".." in parts
    if elsewhere or not info.filename.isprintable():
        raise InputError(f"{path}: has an entry with the unsafe name {info.filename!a}; expected names below a folder")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{path}/{info.filename}: is a link; expected files in the archive")
    if info.flag_bits & 1:
        raise InputError(f"{path}/{info.filename}: is encrypted; unpack the archive with its password first")
    if info.compress_type not in READABLE:
        raise InputError(f"{path}/{info.filename}: is compressed by method {info.compress_type}; expected deflate")
    expansion = _MOST_EXPANSION if info.compress_type == zipfile.ZIP_DEFLATED else 1
    most = min(expansion * (info.compress_size + 8), _MOST_ENTRY_BYTES)
    if info.file_size > most:
        raise InputError(
            f"{path}/{info.filename}: claims {info.file_size} bytes from {info.compress_size} compressed ones; "
            f"expected at most {most}"
        )


def _check_places(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Raises InputError where two entries share bytes, or one ends beyond the file."""
    held = path.stat().st_size
    if sum(info.compress_size for info in infos) > held:
        raise InputError(f"{path}: its entries claim more compressed bytes than the archive's {held}; is damaged")
    spans = ((i.header_offset, i.header_offset + _LOCAL_HEADER_BYTES + i.compress_size, i.filename) for i in infos)
    for (_, end, name), (following, _, _) in pairwise([*sorted(spans), (held, held, "")]):
        if end > following:
            raise InputError(
                f"{path}/{name}: claims bytes of another entry, or beyond the archive's end; is damaged; copy it again"
            )
