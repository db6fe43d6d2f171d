"""multipart/related, as WADO-RS answers: each part goes to the disk as it arrives, and none is held in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from unetr.errors import InputError

_MOST_HEADER_BYTES = 16_384
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,200})"?', re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """The boundary that an answer's Content-Type names. Raises InputError."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/related") or found is None:
        raise InputError("the PACS answers with something else than multipart/related; expected instances")
    return found.group(1).encode("ascii", "replace")


def parts(pieces: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """The bodies of the parts, one after the other, each as pieces. A part must be used up before the next one.

    Raises InputError where the end is missing, so that half a part never counts as one.
    """
    reader = _Reader(iter(pieces))
    opening = b"--" + boundary
    for _preamble in reader.until(opening):
        pass
    while reader.take(2) != b"--":
        reader.skip_headers()
        yield reader.until(b"\r\n" + opening)


class _Reader:
    """Bytes that arrive in pieces, read up to marks that may lie across pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise InputError("the answer of the PACS ends before its last part does")
        self._held += piece

    def take(self, count: int) -> bytes:
        """The next bytes."""
        while len(self._held) < count:
            self._more()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def skip_headers(self) -> None:
        """The headers of a part; the line break before them is taken, a part without any starts with the next one."""
        while (end := self._held.find(b"\r\n\r\n")) < 0 and not self._held.startswith(b"\r\n"):
            if len(self._held) > _MOST_HEADER_BYTES:
                raise InputError("a part of the PACS's answer has headers without an end")
            self._more()
        self._held = self._held[2 if self._held.startswith(b"\r\n") else end + 4 :]

    def until(self, mark: bytes) -> Iterator[bytes]:
        """The bytes before the mark, which is taken as well."""
        while (end := self._held.find(mark)) < 0:
            certain = len(self._held) - len(mark) + 1
            if certain > 0:
                piece, self._held = self._held[:certain], self._held[certain:]
                yield piece
            self._more()
        last, self._held = self._held[:end], self._held[end + len(mark) :]
        if last:
            yield last
