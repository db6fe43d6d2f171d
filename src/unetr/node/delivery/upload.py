"""A file as the body of a STOW-RS request: multipart/related with one part, read from disk while it is sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Upload:
    """A body of known length. To be gone over once."""

    path: Path
    boundary: str

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers."""
        length = len(self._head) + self.path.stat().st_size + len(self._tail)
        kind = f'multipart/related; type="application/dicom"; boundary={self.boundary}'
        return {"Content-Type": kind, "Content-Length": str(length)}

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self.path.open("rb") as handle:
            while piece := handle.read(_PIECE):
                yield piece
        yield self._tail

    @property
    def _head(self) -> bytes:
        return f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    @property
    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


def upload_of(path: Path) -> Upload:
    """A body with a boundary that no file has by chance."""
    return Upload(path, f"unetr{secrets.token_hex(16)}")
