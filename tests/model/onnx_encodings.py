"""ONNX files as bytes: their fields, and other ways to write these."""

from __future__ import annotations

from collections.abc import Callable


def fields(data: bytes) -> list[bytes]:
    """The whole encoding of each field of a message of varints and bytes."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at

    at, found = 0, []
    while at < len(data):
        first = at
        key, at = varint(at)
        length, at = varint(at)
        at += length if key & 7 == 2 else 0
        found.append(data[first:at])
    return found


OTHER_WAYS: dict[str, Callable[[bytes], bytes]] = {
    "an overlong tag": lambda field: bytes([field[0] | 128, 0]) + field[1:],
    "an overlong tag beyond 32 bits": lambda field: bytes([field[0] | 128, 128, 128, 128, 64]) + field[1:],
    "an unknown field": lambda field: field + bytes([0xFA, 0x7F, 0]),
    "a field twice": lambda field: field + field,
    "a group": lambda field: field + bytes([0x0B, 0x0C]),
    "nothing": lambda field: b"",
}
