"""The files behind a DICOM path: a folder's, a zip archive's entries read in memory, or the file itself.

Knows no DICOM beyond the four magic bytes, and does not import pydicom. Archives are judged by `archive.py`. Headers
are read from streams, so that no more of a file is in memory than is asked for, and large pieces only if they fit.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from unetr.core.machine.allowance import admit, reading
from unetr.errors import InputError, UnetrError
from unetr.io.archive import READABLE, checked_entries, damaged, entry_stream, open_archive
from unetr.io.formats import is_scan
from unetr.io.stream import open_scan

_MAGIC = b"DICM"
_MAGIC_AT = 128
# What a data set begins with: its group's length, character set, image type, dates, class; and the types of these.
_LAST_FIRST = 0x18
_EXPLICIT = {b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"TM", b"LO"}
_PIECE = 1 << 16
# Pieces above this size are asked for before they are read, and memory is looked at after so many small ones.
_LARGE_PIECE = 1 << 20
_OFTEN = 5000
# Entries of an archive that are looked at to see whether it holds DICOM.
_MOST_LOOKED_AT = 2000
THREADS = 4

_T = TypeVar("_T")
_R = TypeVar("_R")


class FileStream(io.BufferedReader):
    """A file that takes no more memory than it has bytes left, whatever length a damaged header asks for.

    Large pieces are asked for before they are read. Raises DoesNotFitError.
    """

    def __init__(self, name: str, size: int, raw: io.RawIOBase) -> None:
        super().__init__(raw, _PIECE)
        self._name = name
        self._size = size
        self._reads = 0

    def read(self, size: int | None = -1) -> bytes:
        """As io.BufferedReader.read."""
        self._reads += 1
        if size is None or size < 0 or size > _PIECE:
            left = max(self._size - self.tell(), 0)
            size = left if size is None or size < 0 else min(size, left)
            if size > _LARGE_PIECE:
                admit(self._name, size, "for one of its values")
        elif self._reads % _OFTEN == 0:
            admit(self._name, 0, "for its header")
        return super().read(size)

    def finish(self) -> None:
        """Reads to the end, a piece at a time: for an entry of an archive, its checksum is verified there."""
        while super().read(_PIECE):
            pass


@dataclass(frozen=True, slots=True, eq=False)
class DicomFile:
    """One file that may be DICOM. name: for messages. size: bytes, uncompressed. open: a stream for one reader.

    packed: in an archive, whose entry is unpacked again for each stream.
    """

    name: str
    size: int
    open: Callable[[], FileStream | io.BytesIO]
    packed: bool = False


def has_magic(head: bytes) -> bool:
    """Whether a file that begins with these bytes (132 are enough) says that it is DICOM."""
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def begins_like_dicom(head: bytes) -> bool:
    """Whether a file may be DICOM: it says so, or begins with a data set's first attributes, as without a preamble."""
    if has_magic(head) or len(head) < _MAGIC_AT:
        return has_magic(head)
    group, element, length = map(int, struct.unpack_from("<HHL", head))
    if head[4:6] in _EXPLICIT:
        return group in (2, 8) and element <= _LAST_FIRST
    # Implicit: the length is where the type would be.
    return group == 8 and element <= _LAST_FIRST and length % 2 == 0 and length <= _MAGIC_AT and element + length > 3


def looks_like_dicom(path: Path) -> bool:
    """See `unetr.io.dicom.volume.is_dicom`. Never raises for what is in the files."""
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
        with open_scan(path) as handle, open_archive(path, handle) as archive:
            yield [_entry(path, archive, info) for info in checked_entries(path, archive)]
    else:
        with open_scan(path):
            pass
        yield [_plain(path)]


def each_file(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """[work(item) for item in items] in a few threads; the first error, in the items' order, stops the rest."""

    def within(item: _T) -> _R:
        with reading():
            return work(item)

    # Threads know nothing of the memory limit of the one that starts them.
    contexts = [copy_context() for _ in items]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="dicom") as pool:
        try:
            return list(pool.map(lambda context, item: context.run(within, item), contexts, items))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _plain(path: Path) -> DicomFile:
    def open_file() -> FileStream:
        try:
            raw = io.FileIO(path)
            return FileStream(str(path), os.fstat(raw.fileno()).st_size, raw)
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
        return begins_like_dicom(handle.read(_MAGIC_AT + len(_MAGIC)))


def _folder_looks_like_dicom(folder: Path) -> bool:
    files = _files_below(folder)
    if any(is_scan(file) for file in files):
        return False
    return any(_starts_with_magic(file) for file in files)


def _zip_looks_like_dicom(path: Path) -> bool:
    try:
        with open_scan(path) as handle, open_archive(path, handle) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            for info in infos[:_MOST_LOOKED_AT]:
                # Other methods unpack more than is asked for.
                if info.compress_type not in READABLE:
                    return True
                with archive.open(info) as entry:
                    if begins_like_dicom(entry.read(_MAGIC_AT + len(_MAGIC))):
                        return True
    except Exception:  # noqa: BLE001  damaged or encrypted: reading it says what is wrong
        return True
    return len(infos) > _MOST_LOOKED_AT


class _EntryStream(io.RawIOBase):
    """An entry of an archive as a raw stream; what the library finds wrong is an InputError that names the entry."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._of = (path, info)
        self.name = f"{path}/{info.filename}"  # pydicom asks for it
        self._entry = entry_stream(path, archive, info)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._guarded(lambda: self._entry.seek(offset, whence))

    def tell(self) -> int:
        return self._entry.tell()

    def readinto(self, buffer: Any, /) -> int:
        data = self._guarded(lambda: self._entry.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def _guarded(self, work: Callable[[], _R]) -> _R:
        try:
            return work()
        except (UnetrError, MemoryError):
            raise
        except Exception as error:
            raise damaged(*self._of, error) from error


def _entry(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> DicomFile:
    name = f"{path}/{info.filename}"

    def open_entry() -> FileStream:
        raw = _EntryStream(path, archive, info)
        return FileStream(name, info.file_size, raw)

    return DicomFile(name, info.file_size, open_entry, packed=True)
