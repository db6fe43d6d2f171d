"""ONNX operations for `forward.build_graph`: a model file becomes an ONNX graph without torch and without onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.model.graph.builder import Node, Operations, Shape
from unetr.model.graph.onnx.file import INPUT, OUTPUT, OnnxConstant, OnnxGraph, OnnxNode


class OnnxOperations(Operations):
    """`builder.Operations`; a node is the name of its output. Windows have batch 1."""

    def __init__(self) -> None:
        self.nodes: list[OnnxNode] = []
        self.constants: list[OnnxConstant] = []
        self._shape: tuple[int, ...] = ()
        self._matrices: set[str] = set()

    def input(self, shape: Sequence[int]) -> Node:
        self._shape = (1, *shape)
        return INPUT

    def constant(self, array: NDArray[Any]) -> Node:
        name = self._initializer(array, is_weight=True)
        if array.ndim == 2:
            self._matrices.add(name)
        return name

    def reshape(self, x: Node, shape: Sequence[int]) -> Node:
        return self._node("Reshape", [x, self._integers([1, *shape])])

    def transpose(self, x: Node, order: Sequence[int]) -> Node:
        return self._node("Transpose", [x], perm=list(order))

    def pad(self, x: Node, after: Shape) -> Node:
        return self._node("Pad", [x, self._integers([0] * 7 + list(after))], mode="constant")

    def crop(self, x: Node, shape: Shape) -> Node:
        parts = ([0] * 3, shape, [2, 3, 4])
        return self._node("Slice", [x, *(self._integers(part) for part in parts)])

    def pick(self, x: Node, index: int) -> Node:
        return self._node("Gather", [x, self._initializer(np.array(index, np.int64))], axis=1)

    def add(self, a: Node, b: Node) -> Node:
        return self._node("Add", [a, b])

    def scale(self, x: Node, factor: float) -> Node:
        return self._node("Mul", [x, self._initializer(np.array(factor, np.float32))])

    def matmul(self, a: Node, b: Node, transpose_b: bool) -> Node:
        if not transpose_b:
            return self._node("MatMul", [a, b])
        # Runtimes fold the transposition of a constant; keys are [B, heads, N, K].
        order = [1, 0] if b in self._matrices else [0, 1, 3, 2]
        return self._node("MatMul", [a, self._node("Transpose", [b], perm=order)])

    def convolve(self, x: Node, kernel: NDArray[Any], stride: int, padding: int) -> Node:
        return self._node("Conv", [x, self.constant(kernel)], strides=[stride] * 3, pads=[padding] * 6)

    def deconvolve(self, x: Node, kernel: NDArray[Any]) -> Node:
        padding = [kernel.shape[-1] // 2 - 1] * 6
        return self._node("ConvTranspose", [x, self.constant(kernel)], strides=[2] * 3, pads=padding)

    def normalise(self, x: Node, axes: Sequence[int], eps: float) -> Node:
        where = self._integers(axes)
        mean = self._node("ReduceMean", [x, where], keepdims=1)
        centred = self._node("Sub", [x, mean])
        variance = self._node("ReduceMean", [self._node("Mul", [centred, centred]), where], keepdims=1)
        safe = self._node("Add", [variance, self._initializer(np.array(eps, np.float32))])
        return self._node("Div", [centred, self._node("Sqrt", [safe])])

    def affine(self, x: Node, scale: NDArray[Any], shift: NDArray[Any]) -> Node:
        return self.add(self._node("Mul", [x, self.constant(scale)]), self.constant(shift))

    def softmax(self, x: Node) -> Node:
        return self._node("Softmax", [x], axis=-1)

    def gelu(self, x: Node) -> Node:
        half = self._node("Mul", [x, self._initializer(np.array(0.5, np.float32))])
        error = self._node("Erf", [self._node("Mul", [x, self._initializer(np.array(0.5**0.5, np.float32))])])
        return self._node("Mul", [half, self._node("Add", [error, self._initializer(np.array(1, np.float32))])])

    def leaky_relu(self, x: Node, slope: float) -> Node:
        return self._node("LeakyRelu", [x], alpha=slope)

    def concat(self, parts: Sequence[Node]) -> Node:
        return self._node("Concat", list(parts), axis=1)

    def upsample(self, x: Node, factor: int) -> Node:
        scales = self._initializer(np.array([1, 1, factor, factor, factor], np.float32))
        mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self._node("Resize", [x, "", scales], **mode)

    def graph(self, logits: Node, shape: Sequence[int]) -> OnnxGraph:
        """The whole network. shape: of the logits, [J, H, W, D]."""
        nodes = (*self.nodes, OnnxNode("Identity", (logits,), OUTPUT, "", {}))
        return OnnxGraph(nodes, tuple(self.constants), self._shape, (1, *shape))

    def _node(self, kind: str, inputs: list[Node], **attributes: Any) -> Node:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(OnnxNode(kind, tuple(inputs), name, name, attributes))
        return name

    def _initializer(self, array: NDArray[Any], is_weight: bool = False) -> Node:
        name = f"constant_{len(self.constants)}"
        self.constants.append(OnnxConstant(name, array, is_weight))
        return name

    def _integers(self, values: Sequence[int]) -> Node:
        return self._initializer(np.asarray(values, dtype=np.int64))
