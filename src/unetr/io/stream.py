"""Scan files as streams: decompressed bit by bit, checksums verified, and read to the very last byte.

gzip data may come in several members, as parallel compressors (bgzip, pgzip) write it: each has its own checksum.

Knows nothing of headers. What a header claims never decides how much memory is taken: a claim that the file cannot
hold is refused, and everything else grows only with the bytes that really arrive.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from unetr.errors import InputError

Compression = Literal["none", "gzip", "zlib"]

GZIP_MAGIC = b"\x1f\x8b"
# zlib's window-size argument: +16 asks for a gzip wrapper. Both wrappers end in a checksum, which zlib verifies.
_WINDOW_BITS: dict[Compression, int] = {"gzip": 31, "zlib": 15}
# Deflate cannot expand by more than this (zlib.net/zlib_tech.html: 1032 to 1).
_MOST_EXPANSION = 1032
_PIECE = 1 << 20
# Compressed bytes are read in pieces that double within a gzip member: what is read beyond a member's end is read again
# for the next one, so that a file of a million tiny members takes no longer than one of a few large ones.
_SMALLEST_PIECE, _LARGEST_PIECE = 1 << 9, 1 << 18
# Measured on CT and labels: level 3 is as fast as memory allows for labels and within 1 % of level 6's size for CT.
_LEVEL = 3


@contextmanager
def open_scan(path: Path) -> Iterator[IO[bytes]]:
    """Opens a scan file for reading; whatever the operating system refuses is an InputError in one line."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; expected a scan file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a regular file; expected a scan file")
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_size == 0:
                raise InputError(f"{path}: is empty; expected a scan file")
            yield handle
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a scan") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


class Drain:
    """The rest of an open file from its current position, decompressed as it is asked for."""

    def __init__(self, path: Path, handle: IO[bytes], compression: Compression) -> None:
        self._path = path
        self._handle = handle
        self._compression = compression
        self._inflater = None if compression == "none" else zlib.decompressobj(wbits=_WINDOW_BITS[compression])
        self._input = b""
        self._piece = _SMALLEST_PIECE
        self._left = os.fstat(handle.fileno()).st_size - handle.tell()
        self._taken = 0

    def take(self, count: int) -> bytearray:
        """Exactly `count` bytes. Raises InputError if the file cannot hold or does not hold as many."""
        most = self._left + len(self._input)
        if self._inflater is not None:
            most = _MOST_EXPANSION * (most + 8)
        if count > most:
            raise InputError(
                f"{self._path}: its header claims {self._taken + count} bytes, the file holds at most "
                f"{self._taken + most}: truncated or damaged; copy it again"
            )
        taken = bytearray()
        while len(taken) < count:
            piece = self._next(min(count - len(taken), _PIECE))
            if not piece:
                raise InputError(
                    f"{self._path}: ends after {self._taken + len(taken)} of {self._taken + count} bytes: "
                    "truncated or damaged; copy it again"
                )
            taken += piece
        self._taken += count
        return taken

    def finish(self) -> None:
        """Makes sure that the file ends here and its checksums are right. Raises InputError."""
        if self._next(1):
            raise InputError(
                f"{self._path}: holds more than the {self._taken} bytes that its header claims; expected exactly those"
            )
        if self._inflater is not None and self._left:
            raise self._trailing()

    def _next(self, most: int) -> bytes:
        """Up to `most` further bytes; none at the end."""
        if self._inflater is None:
            return self._read(most)
        while not self._inflater.eof or self._next_member():
            if not self._input:
                self._input = self._read(self._piece)
                self._piece = min(2 * self._piece, _LARGEST_PIECE)
                if not self._input:
                    raise InputError(f"{self._path}: its {self._compression} data is truncated; copy it again")
            try:
                piece = self._inflater.decompress(self._input, most)
            except zlib.error as error:
                reason = str(error).removeprefix("Error -3 while decompressing data: ")
                raise InputError(
                    f"{self._path}: its {self._compression} data is damaged ({reason}); copy it again"
                ) from None
            # At the end of a member zlib may leave what follows it in both places.
            self._input = b"" if self._inflater.eof else self._inflater.unconsumed_tail
            self._return(len(self._inflater.unused_data))
            if piece:
                return piece
        return b""

    def _next_member(self) -> bool:
        """Whether another gzip member follows (RFC 1952, 2.2). Raises InputError for other bytes, zeros included."""
        if self._compression != "gzip" or not self._left:
            return False
        magic = self._read(len(GZIP_MAGIC))
        self._return(len(magic))
        if magic != GZIP_MAGIC:
            raise self._trailing()
        self._inflater, self._piece = zlib.decompressobj(wbits=_WINDOW_BITS["gzip"]), _SMALLEST_PIECE
        return True

    def _trailing(self) -> InputError:
        return InputError(f"{self._path}: has further bytes after its {self._compression} data; expected none")

    def _read(self, most: int) -> bytes:
        data = self._handle.read(most)
        self._left -= len(data)
        return data

    def _return(self, count: int) -> None:
        """Puts the last bytes that were read back."""
        if count:
            self._handle.seek(-count, os.SEEK_CUR)
            self._left += count


def write_pieces(handle: IO[bytes], pieces: Iterable[bytes], compression: Compression) -> None:
    """Writes the pieces; compressed, the same pieces give the same bytes: no time and no file name are stored."""
    if compression == "none":
        handle.writelines(pieces)
        return
    deflater = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS[compression])
    handle.writelines(deflater.compress(piece) for piece in pieces)
    handle.write(deflater.flush())
