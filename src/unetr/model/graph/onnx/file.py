"""ONNX files, byte for byte: how `unetr export` writes a network, and whether a file is just that.

ONNX files are protocol buffers (https://protobuf.dev/programming-guides/encoding/) of the messages in onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), whose field numbers stand below. One meaning has many
encodings there, readers differ in what they accept, and a tensor may name another file to be opened. So a file is not
searched for what must not be in it: it is compared with what its plan and its weights are written as.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 18
INPUT, OUTPUT = "windows", "logits"
_IR_VERSION = 9
_VARINT, _BYTES, _FIXED32 = 0, 2, 5
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}  # TensorProto.DataType


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One operation. attributes: whole numbers, floats, texts, and lists of whole numbers."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    name: str
    attributes: Mapping[str, int | float | str | list[int]]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxConstant:
    """An array of the file. is_weight: it comes from the model's weights; the others are part of the graph."""

    name: str
    array: NDArray[Any]
    is_weight: bool


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGraph:
    """A network: windows of `input_shape` [1, C, H, W, D] in, logits of `output_shape` [1, J, H, W, D] out."""

    nodes: tuple[OnnxNode, ...]
    constants: tuple[OnnxConstant, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def onnx_parts(
    graph: OnnxGraph, metadata: Mapping[str, str], weights: Mapping[str, memoryview]
) -> Iterator[bytes | memoryview]:
    """The file in parts. weights: name -> bytes to take instead of those of a constant."""
    parts = list(_graph(graph, weights))
    yield _number(1, _IR_VERSION) + _head(7, sum(map(len, parts)))
    yield from parts
    yield _bytes(8, _text(1, "") + _number(2, OPSET))
    for key, value in metadata.items():
        yield _bytes(14, _text(1, key) + _text(2, value))


def is_file_of(data: bytes, graph: OnnxGraph, metadata: Mapping[str, str], weights: Mapping[str, memoryview]) -> bool:
    """Whether a file is what `onnx_parts` writes, and nothing else."""
    at, view = 0, memoryview(data)
    for part in onnx_parts(graph, metadata, weights):
        if view[at : at + len(part)] != part:
            return False
        at += len(part)
    return at == len(data)


def _graph(graph: OnnxGraph, weights: Mapping[str, memoryview]) -> Iterator[bytes | memoryview]:
    for node in graph.nodes:
        yield _bytes(1, _node(node))
    yield _text(2, "unetr")
    for constant in graph.constants:
        yield from _tensor(constant, weights.get(constant.name))
    yield _bytes(11, _value_info(INPUT, graph.input_shape))
    yield _bytes(12, _value_info(OUTPUT, graph.output_shape))


def _node(node: OnnxNode) -> bytes:
    parts = [_text(1, name) for name in node.inputs] + [_text(2, node.output)]
    parts += [_text(3, node.name)] if node.name else []
    parts += [_text(4, node.kind)]
    return b"".join([*parts, *(_bytes(5, _attribute(*item)) for item in sorted(node.attributes.items()))])


def _attribute(name: str, value: float | str | list[int]) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + _key(2, _FIXED32) + np.array(value, "<f4").tobytes() + _number(20, 1)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    return _text(1, name) + b"".join(_number(8, int(item)) for item in value) + _number(20, 7)


def _tensor(constant: OnnxConstant, raw: memoryview | None) -> Iterator[bytes | memoryview]:
    array = constant.array
    kind = _TYPES[np.dtype(np.float32) if constant.is_weight else array.dtype]
    data = np.ascontiguousarray(array, "<f4" if kind == 1 else "<i8").tobytes() if raw is None else raw
    about = b"".join(_number(1, size) for size in array.shape) + _number(2, kind) + _text(8, constant.name)
    about += _head(9, len(data))
    yield _head(5, len(about) + len(data)) + about
    yield data


def _value_info(name: str, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_bytes(1, _number(1, size)) for size in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, _TYPES[np.dtype(np.float32)]) + _bytes(2, sizes)))


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value & (1 << 64) - 1)


def _head(field: int, length: int) -> bytes:
    return _key(field, _BYTES) + _varint(length)


def _bytes(field: int, value: bytes) -> bytes:
    return _head(field, len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
