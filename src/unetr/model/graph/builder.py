"""What a network is said in, for runtimes other than torch: primitive operations, and the blocks made of them.

An `Operations` is what a runtime can do: OpenVINO's is in `openvino/graph.py`, ONNX's in `onnx/graph.py`.
The blocks are those of `blocks.py`, on numpy weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import NetworkPlan

Node = Any  # a runtime's own handle of a tensor
Weights = Mapping[str, NDArray[Any]]
Shape = tuple[int, int, int]

LAYER_NORM_EPS = 1e-5
NORM_EPS = 1e-5
SLOPE = 0.01  # of the leaky rectifier, as in model/network/blocks.py
_SCALE_SHIFT = ("weight", "bias")


class Operations(Protocol):
    """What a runtime must be able to do. Tensors are float32: [B, channels, h, w, d] or [B, N, K]."""

    def input(self, shape: Sequence[int]) -> Node:
        """The windows, [B, C, H, W, D]; `shape` is C, H, W, D."""

    def constant(self, array: NDArray[Any]) -> Node:
        """An array of weights."""

    def reshape(self, x: Node, shape: Sequence[int]) -> Node:
        """To [B, *shape]."""

    def transpose(self, x: Node, order: Sequence[int]) -> Node:
        """Axes in another order."""

    def pad(self, x: Node, after: Shape) -> Node:
        """Zeros at the far ends of the last three axes."""

    def crop(self, x: Node, shape: Shape) -> Node:
        """The first voxels of the last three axes."""

    def pick(self, x: Node, index: int) -> Node:
        """x [B, 3, ...] -> x[:, index]."""

    def add(self, a: Node, b: Node) -> Node:
        """Elementwise, with broadcasting."""

    def scale(self, x: Node, factor: float) -> Node:
        """Every element times a number."""

    def matmul(self, a: Node, b: Node, transpose_b: bool) -> Node:
        """Matrix product over the last two axes; of b transposed, if asked for."""

    def convolve(self, x: Node, kernel: NDArray[Any], stride: int, padding: int) -> Node:
        """x [B, i, ...], kernel [o, i, k, k, k]."""

    def deconvolve(self, x: Node, kernel: NDArray[Any]) -> Node:
        """Transposed convolution to twice the size: kernel [i, o, k, k, k], stride 2, padding k / 2 - 1."""

    def normalise(self, x: Node, axes: Sequence[int], eps: float) -> Node:
        """(x - mean) / sqrt(variance + eps) over the last so many axes that `axes` names."""

    def affine(self, x: Node, scale: NDArray[Any], shift: NDArray[Any]) -> Node:
        """x * scale + shift, with broadcasting."""

    def softmax(self, x: Node) -> Node:
        """Over the last axis."""

    def gelu(self, x: Node) -> Node:
        """By the error function."""

    def leaky_relu(self, x: Node, slope: float) -> Node:
        """slope * x below zero."""

    def concat(self, parts: Sequence[Node]) -> Node:
        """Along the channels."""

    def upsample(self, x: Node, factor: int) -> Node:
        """Trilinear, centres of voxels aligned at half pixels."""


@dataclass(frozen=True, slots=True)
class Builder:
    """What the parts of a network are built from: operations, weights by name, the plan's choices.

    across: voxels along the shortest side of the window, padded to whole patches.
    """

    ops: Operations
    weights: CheckedWeights
    network: NetworkPlan
    across: int

    def linear(
        self, x: Node, name: str, inputs: int, outputs: int, bias: bool = True, scale: str | None = None
    ) -> Node:
        """x [B, N, inputs] -> [B, N, outputs]. scale: name of an `encoder.LayerScale` after it, which goes into it."""
        weight = self.weights.take(f"{name}.weight", outputs, inputs)
        shift = self.weights.take(f"{name}.bias", outputs) if bias else None
        if scale and self.network.layer_scale:
            gain = self.weights.take(f"{scale}.weight", outputs)
            weight, shift = weight * gain[:, None], None if shift is None else shift * gain
        out = self.ops.matmul(x, self.ops.constant(weight), transpose_b=True)
        return out if shift is None else self.ops.add(out, self.ops.constant(shift))

    def layer_norm(self, x: Node, name: str) -> Node:
        """x [B, N, K] -> the same shape."""
        width = self.network.width
        scale, shift = (self.weights.take(f"{name}.{part}", width) for part in _SCALE_SHIFT)
        return self.ops.affine(self.ops.normalise(x, (2,), LAYER_NORM_EPS), scale, shift)

    def conv_norm(self, x: Node, names: tuple[str, str], inputs: int, outputs: int, size: int, stride: int = 1) -> Node:
        """Convolution without bias and its norm, by name. Batch norm has fixed figures, so it goes into the kernel."""
        kernel, shift = self._folded(*names, inputs, outputs, size)
        return self._normed(self.ops.convolve(x, kernel, stride, (size - 1) // 2), names[1], outputs, shift)

    def _normed(self, out: Node, norm: str, outputs: int, shift: NDArray[np.float32] | None) -> Node:
        """What comes after a kernel of `_folded`."""
        if shift is not None:
            return self.ops.add(out, self.ops.constant(shift))
        out = self.ops.normalise(out, (2, 3, 4), NORM_EPS)
        if self.network.norm == "instance":
            return out
        return self.ops.affine(out, *(self.channels(self.weights.take(f"{norm}.{p}", outputs)) for p in _SCALE_SHIFT))

    def _folded(
        self, conv: str, norm: str, inputs: int, outputs: int, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The kernel, with a batch norm in it, and that norm's shift; None for an instance norm, which comes after."""
        kernel = self.weights.take(f"{conv}.weight", outputs, inputs, size, size, size)
        if self.network.norm != "batch":
            return kernel, None
        parts = (*_SCALE_SHIFT, "running_mean", "running_var")
        gain, bias, mean, variance = (self.weights.take(f"{norm}.{part}", outputs).astype(np.float64) for part in parts)
        gain = gain / np.sqrt(variance + NORM_EPS)
        folded = (kernel * gain[:, None, None, None, None]).astype(np.float32)
        return folded, self.channels(bias - mean * gain)

    def conv_norm_act(self, x: Node, name: str, inputs: int, outputs: int, size: int) -> Node:
        """`blocks.ConvNorm`."""
        return self.ops.leaky_relu(self.conv_norm(x, (f"{name}.0", f"{name}.1"), inputs, outputs, size), SLOPE)

    def conv_block(self, x: Node, name: str, inputs: int, outputs: int, stride: int = 1) -> Node:
        """`blocks.ConvBlock`: x [B, inputs, h, w, d] -> [B, outputs, h/stride, w/stride, d/stride]."""
        out = self.conv_norm(x, (f"{name}.conv_1", f"{name}.norm_1"), inputs, outputs, 3, stride)
        out = self.ops.leaky_relu(out, SLOPE)
        out = self.conv_norm(out, (f"{name}.conv_2", f"{name}.norm_2"), outputs, outputs, 3)
        if self.network.residual:
            if inputs != outputs or stride > 1:
                names = (f"{name}.shortcut.0", f"{name}.shortcut.1")
                x = self.conv_norm(x, names, inputs, outputs, stride, stride)
            out = self.ops.add(out, x)
        return self.ops.leaky_relu(out, SLOPE)

    def doubled_conv_block(
        self, deep: Node, skip: Node | None, up_name: str, name: str, channels: tuple[int, int]
    ) -> Node:
        """A `blocks.ConvBlock` on [deep doubled by a deconvolution, skip], without convolving what was doubled.

        Both are linear: a 3x3x3 convolution of a stride-2 deconvolution is a deconvolution of 4x4x4, 8 products a voxel
        in place of 27. channels: of deep, and of skip and the result. deep [B, i, h, w, d], skip [B, o, 2h, 2w, 2d] or
        None -> [B, o, 2h, 2w, 2d].
        """
        inputs, outputs = channels
        up = self.weights.take(f"{up_name}.weight", inputs, outputs, 2, 2, 2)
        out = self._doubled_conv_norm(deep, skip, up, (f"{name}.conv_1", f"{name}.norm_1", 3))
        out = self.ops.leaky_relu(out, SLOPE)
        out = self.conv_norm(out, (f"{name}.conv_2", f"{name}.norm_2"), outputs, outputs, 3)
        if self.network.residual and skip is None:
            out = self.ops.add(out, self.ops.deconvolve(deep, up))
        elif self.network.residual:
            names = (f"{name}.shortcut.0", f"{name}.shortcut.1", 1)
            out = self.ops.add(out, self._doubled_conv_norm(deep, skip, up, names))
        return self.ops.leaky_relu(out, SLOPE)

    def _doubled_conv_norm(self, deep: Node, skip: Node | None, up: NDArray[Any], names: tuple[str, str, int]) -> Node:
        conv, norm, size = names
        middle = up.shape[1]
        kernel, shift = self._folded(conv, norm, middle if skip is None else 2 * middle, middle, size)
        out = self.ops.deconvolve(deep, composed_kernel(up, kernel[:, :middle]))
        if skip is not None:
            out = self.ops.add(self.ops.convolve(skip, np.ascontiguousarray(kernel[:, middle:]), 1, size // 2), out)
        return self._normed(out, norm, middle, shift)

    def deconvolution(self, x: Node, name: str, inputs: int, outputs: int) -> Node:
        """`blocks.Deconvolution`: twice the size."""
        return self.ops.deconvolve(x, self.weights.take(f"{name}.weight", inputs, outputs, 2, 2, 2))

    def head(self, x: Node, name: str, inputs: int, outputs: int) -> Node:
        """1x1x1 convolution with bias to the logits."""
        out = self.ops.convolve(x, self.weights.take(f"{name}.weight", outputs, inputs, 1, 1, 1), 1, 0)
        return self.ops.add(out, self.ops.constant(self.channels(self.weights.take(f"{name}.bias", outputs))))

    @staticmethod
    def channels(values: NDArray[Any]) -> NDArray[np.float32]:
        """One number per channel, as an array that broadcasts over [B, channels, h, w, d]."""
        return values.astype(np.float32).reshape(1, -1, 1, 1, 1)


class CheckedWeights:
    """Hands out weights by name. That they are all there, and no others, was checked before (`shapes.fit_problem`)."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def take(self, name: str, *shape: int) -> NDArray[Any]:
        """The array. Raises ValueError for one of another shape."""
        array = self._weights[name]
        if array.shape != shape:
            raise ValueError(f"{name} is {array.shape}, not {shape}")
        return array


def composed_kernel(up: NDArray[Any], conv: NDArray[Any]) -> NDArray[np.float32]:
    """The stride-2 deconvolution [i, o, k+1, k+1, k+1] that is `conv` [o, m, k, k, k] of `up` [i, m, 2, 2, 2].

    Voxel x reaches voxel 2x + a of the doubled grid by up[a], and from there voxel 2x + a - t + k // 2 by conv[t]: with
    padding (k + 1) / 2 - 1 that is the kernel's place a - t + k - 1.
    """
    size, inputs, outputs = conv.shape[-1], up.shape[0], conv.shape[0]
    if not any((*up.strides, *conv.strides)):  # stand-ins for weights, of which only the shape counts
        return np.broadcast_to(np.float32(0), (inputs, outputs, size + 1, size + 1, size + 1))
    kernel = np.zeros((inputs, outputs, size + 1, size + 1, size + 1))
    flat = up.reshape(inputs, up.shape[1], -1).astype(np.float64)
    for t in np.ndindex(size, size, size):
        x, y, z = (size - 1 - place for place in t)
        paths = conv[:, :, *t].astype(np.float64) @ flat
        kernel[:, :, x : x + 2, y : y + 2, z : z + 2] += paths.reshape(inputs, outputs, 2, 2, 2)
    return kernel.astype(np.float32)
