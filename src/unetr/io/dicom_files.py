"""The files behind a DICOM path: a folder's, a zip archive's entries read in memory, or the file itself.

Knows no DICOM beyond the four magic bytes, and does not import pydicom. What an archive claims is compared with what
its bytes can hold before anything is read.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, TypeVar

from unetr.errors import InputError
from unetr.io.formats import is_scan
from unetr.io.stream import open_scan

_MAGIC = b"DICM"
_MAGIC_AT = 128
_PIECE = 1 << 16
# Deflate cannot expand by more than this (zlib.net/zlib_tech.html: 1032 to 1).
_MOST_EXPANSION = 1032
# Largest archives that are read: a whole study of many series is below 10 GB, one enhanced instance below 2 GB.
_MOST_BYTES = 64 << 30
_MOST_ENTRY_BYTES = 4 << 30
_MOST_ENTRIES = 200_000
_THREADS = 4

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True, eq=False)
class DicomFile:
    """One file that may be DICOM. name: for messages. size: bytes, uncompressed. open: a stream for one reader."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


class _BoundedReader(io.BufferedReader):
    """A file that takes no more memory than it has bytes left, whatever length a damaged header asks for."""

    def __init__(self, path: Path) -> None:
        raw = io.FileIO(path)
        super().__init__(raw, _PIECE)
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1) -> bytes:
        """As io.BufferedReader.read."""
        if size is None or size < 0 or size > _PIECE:
            left = max(self._size - self.tell(), 0)
            size = left if size is None or size < 0 else min(size, left)
        return super().read(size)


def has_magic(head: bytes) -> bool:
    """Whether a file that begins with these bytes (132 are enough) says that it is DICOM."""
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def looks_like_dicom(path: Path) -> bool:
    """See `unetr.io.dicom.is_dicom`. Never raises for what is in the files."""
    try:
        if path.is_dir():
            return _folder_looks_like_dicom(path)
        if not path.is_file() or is_scan(path):
            return False
        if path.suffix.lower() == ".zip":
            return _zip_looks_like_dicom(path)
        return _starts_with_magic(path)
    except OSError:
        return False


@contextmanager
def open_files(path: Path) -> Iterator[list[DicomFile]]:
    """All files of a folder (recursively, hidden ones left out) or zip archive, or the one file, sorted by name.

    They can be opened until the context ends, from several threads. Raises InputError for paths that do not exist,
    and archives that are damaged, encrypted, claim more than they hold, or have names that lead out of a folder.
    """
    if path.is_dir():
        try:
            yield [_plain(file) for file in _files_below(path)]
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    elif path.suffix.lower() == ".zip":
        with open_scan(path) as handle, _open_archive(path, handle) as archive:
            yield [_entry(path, archive, info) for info in _checked_entries(path, archive)]
    else:
        with open_scan(path):
            pass
        yield [_plain(path)]


def each_file(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """[work(item) for item in items] in a few threads; the first error, in the items' order, stops the rest."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="dicom") as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _plain(path: Path) -> DicomFile:
    def open_file() -> BinaryIO:
        try:
            return _BoundedReader(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None

    return DicomFile(str(path), path.stat().st_size, open_file)


def _files_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error  # a folder that cannot be listed would silently be slices that are missing

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.is_file()]
    return sorted(found)


def _starts_with_magic(path: Path) -> bool:
    with path.open("rb") as handle:
        return has_magic(handle.read(_MAGIC_AT + len(_MAGIC)))


def _folder_looks_like_dicom(folder: Path) -> bool:
    files = _files_below(folder)
    if any(is_scan(file) for file in files):
        return False
    return any(_starts_with_magic(file) for file in files)


def _zip_looks_like_dicom(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as handle:
                        if has_magic(handle.read(_MAGIC_AT + len(_MAGIC))):
                            return True
    except Exception:  # noqa: BLE001  damaged or encrypted: reading it says what is wrong
        return True
    return False


@contextmanager
def _open_archive(path: Path, handle: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(handle)
    except Exception as error:
        raise InputError(f"{path}: is not a sound zip archive ({_reason(error)}); copy it again") from error
    with archive:
        yield archive


def _checked_entries(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The archive's files, after all of its claims have been judged from its directory alone."""
    infos = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
    if len(infos) > _MOST_ENTRIES:
        raise InputError(f"{path}: holds {len(infos)} files; expected at most {_MOST_ENTRIES}")
    for info in infos:
        _check_entry(path, info)
    held = path.stat().st_size
    if sum(info.compress_size for info in infos) > held:
        raise InputError(f"{path}: its entries claim more compressed bytes than the archive's {held}; is damaged")
    total = sum(info.file_size for info in infos)
    if total > _MOST_BYTES:
        raise InputError(f"{path}: unpacks to {total / 2**30:.0f} GiB; expected at most {_MOST_BYTES >> 30} GiB")
    return [info for info in infos if not PurePosixPath(info.filename).name.startswith(".")]


def _check_entry(path: Path, info: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    if not info.filename.isprintable() or not parts or parts[0] == "/" or parts[0].endswith(":") or ".." in parts:
        raise InputError(f"{path}: has an entry with the unsafe name {info.filename!a}; expected names below a folder")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{path}/{info.filename}: is a link; expected files in the archive")
    if info.flag_bits & 1:
        raise InputError(f"{path}/{info.filename}: is encrypted; unpack the archive with its password first")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}/{info.filename}: is compressed by method {info.compress_type}; expected deflate")
    most = _MOST_EXPANSION * (info.compress_size + 8)
    if info.file_size > min(most, _MOST_ENTRY_BYTES):
        raise InputError(
            f"{path}/{info.filename}: claims {info.file_size} bytes from {info.compress_size} compressed ones; "
            f"expected at most {min(most, _MOST_ENTRY_BYTES)}"
        )


def _entry(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> DicomFile:
    name = f"{path}/{info.filename}"

    def open_entry() -> BinaryIO:
        try:
            return io.BytesIO(archive.read(info))  # to its end, so that its checksum is verified
        except MemoryError:
            raise
        except Exception as error:
            raise InputError(f"{name}: is damaged in the archive ({_reason(error)}); copy it again") from error

    return DicomFile(name, info.file_size, open_entry)


def _reason(error: Exception) -> str:
    return "wrong checksum" if "CRC" in str(error) else type(error).__name__
