"""Reads an ONNX file's metadata and constants without the onnx package: a few fields of its messages.

ONNX files are protocol buffers (https://protobuf.dev/programming-guides/encoding/): fields of a key, number * 8 + type,
and a value. `metadata_props` are field 14 of ModelProto, each a message with key (1) and value (2). The other numbers
are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator

_METADATA_PROPS = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_TAG_BITS = (1 << 32) - 1  # as other readers do: what is above does not count
# Message -> field number -> message in it, of all that can hold a tensor.
_PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA = 13

_GRAPH, _INITIALIZER, _NAME, _RAW_DATA = 7, 5, 8, 9


def onnx_metadata(data: bytes) -> dict[str, str] | None:
    """Key -> value of the file's `metadata_props`; None for bytes that are no protocol buffer."""
    view = memoryview(data)
    found = {}
    try:
        for number, value in _fields(view):
            if number == _METADATA_PROPS:
                entry = dict(_fields(value))
                found[bytes(entry[1]).decode()] = bytes(entry.get(2, b"")).decode()
    except (ValueError, KeyError):
        return None
    return found


def onnx_constants(data: bytes) -> dict[str, memoryview]:
    """Name -> bytes of the graph's constants, as they seem to be: `onnx_check` compares the file with what they make.

    Raises ValueError and KeyError for what is none.
    """
    found = {}
    for number, graph in _fields(memoryview(data)):
        for part, tensor in _fields(graph) if number == _GRAPH else ():
            if part == _INITIALIZER:
                entries = dict(_fields(tensor))
                found[bytes(entries[_NAME]).decode()] = entries[_RAW_DATA]
    return found


def has_external_data(data: bytes) -> bool:
    """Whether any tensor's values seem to be in another file, which a runtime would then open.

    True, too, for what cannot be followed to its end. For the words of an error: that a file is sound is not told by
    what is not found in it, but by `onnx_check`.
    """
    waiting = [("model", memoryview(data))]
    try:
        while waiting:
            message, view = waiting.pop()
            for number, value in _fields(view):
                if message == "tensor" and number == _EXTERNAL_DATA:
                    return True
                if number in _PARTS[message]:
                    waiting.append((_PARTS[message][number], value))
    except ValueError:
        return True
    return False


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and value of each length-delimited field; others are passed over. Raises ValueError."""
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        number, kind = (key & _TAG_BITS) >> 3, key & 7
        if kind == _VARINT:
            _, at = _varint(view, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        elif kind == _BYTES:
            length, at = _varint(view, at)
            if at + length > len(view):
                raise ValueError("a field is longer than the file")
            yield number, view[at : at + length]
            at += length
        else:
            raise ValueError(f"field type {kind} is unknown")
    if at != len(view):
        raise ValueError("the last field is cut off")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= len(view):
            raise ValueError("a number is cut off")
        byte = view[at + index]
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, at + index + 1
    raise ValueError("a number is too long")
