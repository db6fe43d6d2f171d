"""What one connection may make this machine hold: the longest piece, the largest object, the room on the disk.

pynetdicom has no such limits: it reads pieces of any length that a header claims, for as long as now and then a byte
comes, and a disk that is full ends its thread. So the two calls in which that happens are watched over, for each
association by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# The header of a piece is counted as well, and its sender may take the length as that of its content.
_HEADERS = 64
_ATTRIBUTE = "unetr_bounds"
_INVALID_PIECE = "Evt19"
_IS_COMMAND = 1
_AT_ONCE = 4096
_LEAST_S = 0.001


class Bounds:
    """Those of one association. most_piece, most_object: bytes. first_s: in which it has to ask for an association;
    piece_s: in which each piece has to come whole, however slowly. refused: whether an object of it was."""

    def __init__(self, association: Any, most_piece: int, most_object: int, first_s: float, piece_s: float) -> None:
        self._association, self._most_piece, self._most_object = association, most_piece, most_object
        self._first_end, self._piece_s = time.monotonic() + first_s, piece_s
        self._read, self._no_room, self.refused = 0, False, False
        self._receive: Callable[[Any], None] = association.dimse.receive_primitive
        association.dul.socket.recv = self.recv
        association.dimse.receive_primitive = self.receive

    def next_object(self) -> bool:
        """What comes now belongs to another object; whether the one before is whole on the disk."""
        is_whole, self._read, self._no_room = not self._no_room, 0, False
        return is_whole

    def recv(self, count: int) -> bytearray:
        """As the socket's. Raises OSError, which ends the connection, beyond the limits."""
        self._read += count
        if count > self._most_piece + _HEADERS or self._read > self._most_object:
            raise OSError("more than the settings allow")
        end = time.monotonic() + self._piece_s if self._association.is_established else self._first_end
        socket = self._association.dul.socket.socket
        found = bytearray()
        try:
            while len(found) < count:
                socket.settimeout(max(_LEAST_S, end - time.monotonic()))
                if time.monotonic() > end or not (more := socket.recv(min(_AT_ONCE, count - len(found)))):
                    break
                found += more
        finally:
            socket.settimeout(self._piece_s)
        return found

    def receive(self, primitive: Any) -> None:
        """As DIMSE's. Where the disk is full, the rest of the object goes nowhere, so that its sender can be told."""
        try:
            self._receive(primitive)
        except OSError:
            self._no_room = True
            message = self._association.dimse.message
            if message is None or message._data_set_file is None:  # not even a file could be made
                self._association.dul.event_queue.put(_INVALID_PIECE)
                return
            self.drop()
            message._data_set_file = _Nowhere(message._data_set_file.name)
            pieces = primitive.presentation_data_value_list
            data = [list(piece) for piece in pieces if not piece[1][0] & _IS_COMMAND]
            primitive.presentation_data_value_list = data
            self._receive(primitive)

    def drop(self) -> None:
        """Removes the file of an object that did not come to its end."""
        message = self._association.dimse.message
        held = None if message is None else message._data_set_file
        if held is not None:
            with suppress(OSError):
                held.close()
            with suppress(OSError):
                Path(held.name).unlink()


def bound(association: Any, most_piece: int, most_object: int, first_s: float, piece_s: float) -> None:
    """Watches over an association, before its first byte is read. See Bounds."""
    setattr(association, _ATTRIBUTE, Bounds(association, most_piece, most_object, first_s, piece_s))


def bounds_of(association: Any) -> Bounds:
    """Those that watch over it."""
    found: Bounds = getattr(association, _ATTRIBUTE)
    return found


class _Nowhere:
    """Takes what the disk has no room for. name: of the file that was removed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = self

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
