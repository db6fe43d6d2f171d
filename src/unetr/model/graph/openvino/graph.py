"""OpenVINO's operations for `forward.build_graph`: a model file becomes an OpenVINO network without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan
from unetr.model.graph.builder import Node, Operations, Shape
from unetr.model.graph.forward import build_graph
from unetr.model.graph.onnx.check import is_too_small, stand_ins
from unetr.model.graph.openvino.runtime import op, ov
from unetr.model.network.shapes import weight_shapes

# Of a constant: how it was made, not what it is.
_NOT_COMPARED = {"shared_memory"}
_PAD_INPUTS = 3


class OpenVINOOperations(Operations):
    """`builder.Operations`; windows have batch 1, so that all shapes are known when it is compiled."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []

    def input(self, shape: Sequence[int]) -> Node:
        parameter = op.parameter([1, *shape], np.float32, name="windows")
        self.parameters.append(parameter)
        return parameter

    def constant(self, array: NDArray[Any]) -> Node:
        # Shared: the weights are in memory once, as long as the caller keeps them.
        return op.constant(np.ascontiguousarray(array, np.float32), shared_memory=True)

    def reshape(self, x: Node, shape: Sequence[int]) -> Node:
        return op.reshape(x, _integers([1, *shape]), special_zero=False)

    def transpose(self, x: Node, order: Sequence[int]) -> Node:
        return op.transpose(x, _integers(order))

    def pad(self, x: Node, after: Shape) -> Node:
        return op.pad(x, _integers([0] * 5), _integers([0, 0, *after]), "constant", np.float32(0))

    def crop(self, x: Node, shape: Shape) -> Node:
        return op.slice(x, _integers([0] * 3), _integers(shape), _integers([1] * 3), _integers([2, 3, 4]))

    def pick(self, x: Node, index: int) -> Node:
        return op.gather(x, np.int64(index), np.int64(1))

    def add(self, a: Node, b: Node) -> Node:
        return op.add(a, b)

    def scale(self, x: Node, factor: float) -> Node:
        return op.multiply(x, np.float32(factor))

    def matmul(self, a: Node, b: Node, transpose_b: bool) -> Node:
        return op.matmul(a, b, transpose_a=False, transpose_b=transpose_b)

    def convolve(self, x: Node, kernel: NDArray[Any], stride: int, padding: int) -> Node:
        return op.convolution(x, self.constant(kernel), [stride] * 3, [padding] * 3, [padding] * 3, [1] * 3)

    def deconvolve(self, x: Node, kernel: NDArray[Any]) -> Node:
        padding = [kernel.shape[-1] // 2 - 1] * 3
        return op.convolution_backprop_data(
            x, self.constant(kernel), [2] * 3, pads_begin=padding, pads_end=padding, dilations=[1] * 3
        )

    def normalise(self, x: Node, axes: Sequence[int], eps: float) -> Node:
        return op.mvn(x, _integers(axes), normalize_variance=True, eps=eps, eps_mode="inside_sqrt")

    def affine(self, x: Node, scale: NDArray[Any], shift: NDArray[Any]) -> Node:
        return op.add(op.multiply(x, self.constant(scale)), self.constant(shift))

    def softmax(self, x: Node) -> Node:
        return op.softmax(x, -1)

    def gelu(self, x: Node) -> Node:
        return op.gelu(x, "erf")

    def leaky_relu(self, x: Node, slope: float) -> Node:
        return op.prelu(x, np.array([slope], np.float32))

    def concat(self, parts: Sequence[Node]) -> Node:
        return op.concat(list(parts), 1)

    def upsample(self, x: Node, factor: int) -> Node:
        return op.interpolate(
            x,
            np.array([factor] * 3, np.float32),
            mode="linear_onnx",
            shape_calculation_mode="scales",
            coordinate_transformation_mode="half_pixel",
            axes=_integers([2, 3, 4]),
        )


def _integers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


def openvino_network(logits: Node, operations: OpenVINOOperations) -> ov.Model:
    """What `build_graph` returned, as a network with input `windows` and output `logits`."""
    logits.output(0).set_names({"logits"})
    return ov.Model([logits], operations.parameters, "unetr")


def is_network_of(network: ov.Model, plan: Plan, size: int) -> bool:
    """Whether a network that was read has the operations of the plan's: kinds, settings, and shapes of all tensors.

    size: bytes of its weights. Whole numbers, which are part of the graph, must be the same; weights may be any.
    """
    shapes = weight_shapes(plan)
    if is_too_small(shapes, size):
        return False
    operations = OpenVINOOperations()
    own = openvino_network(build_graph(operations, plan, stand_ins(shapes), "the plan"), operations)
    return _described(network) == _described(own)


def _described(network: ov.Model) -> Counter[str]:
    return Counter(filter(None, map(_operation, network.get_ops())))


def _operation(one: Any) -> str:
    """Kind, shapes and settings; empty for a single float, since reading adds one: what the padding is made of."""
    kind = one.get_type_name()
    inputs = [port.get_partial_shape() for port in one.inputs()]
    outputs = [port.get_partial_shape() for port in one.outputs()]
    about = sorted((key, value) for key, value in one.get_attributes().items() if key not in _NOT_COMPARED)
    if kind == "Pad":
        inputs = inputs[:_PAD_INPUTS]
    if kind == "Constant" and one.get_element_type() != ov.Type.f32:
        about = [("value", one.data.tolist())]
    elif kind == "Constant" and one.data.ndim == 0:
        return ""
    return f"{kind} {inputs} {outputs} {about}"
