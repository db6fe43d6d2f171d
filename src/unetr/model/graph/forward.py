"""The network as a list of primitive operations, for runtimes other than torch. Knows the forward pass, no runtime.

`build_graph` walks through the same network as `model.network.unetr`, for one size of window, on a model file's numpy
arrays, and says each operation to an `Operations`. So a model file becomes an OpenVINO or an ONNX network without
torch, and in no time. That the result is the torch network is tested for every decoder and every option of the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.network import patch_grid
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.model.graph.builder import Builder, CheckedWeights, Node, Operations, Shape, Weights
from unetr.model.graph.decoders import DECODER_GRAPHS, stem_graph
from unetr.model.network.shapes import fit_problem


def build_graph(ops: Operations, plan: Plan, weights: Weights, source: str) -> Node:
    """The logits [B, J, H, W, D] of windows [B, C, H, W, D] of the plan's size.

    Raises InputError, naming `source`, for weights that do not fit and for networks that cannot be.
    """
    network = plan.network
    if network.peer is not None:
        raise InputError(
            f"{source}: network.peer: {network.peer} is another project's network; it runs with engine torch only",
            hint="engine",
        )
    problem = fit_problem(plan, {name: array.shape for name, array in weights.items()})
    if problem:
        raise InputError(f"{source}: {problem}")
    grid = patch_grid(plan.window, network.patch)
    padded = _each(lambda size: size * network.patch, grid)
    builder = Builder(ops, CheckedWeights(weights), network, min(padded))
    x = ops.input((plan.in_channels, *plan.window))
    if padded != plan.window:
        x = ops.pad(x, (padded[0] - plan.window[0], padded[1] - plan.window[1], padded[2] - plan.window[2]))
    details = stem_graph(builder, x, plan.in_channels) if network.has_stem else [x]
    features = _encoder(builder, x, details[-1], plan.in_channels, grid)
    logits = DECODER_GRAPHS[network.decoder](builder, details, features, plan.in_channels, plan.outputs)
    return ops.crop(logits, plan.window) if padded != plan.window else logits


def _each(change: Callable[[int], int], shape: Shape) -> Shape:
    x, y, z = shape
    return change(x), change(y), change(z)


def _encoder(b: Builder, x: Node, detail: Node, in_channels: int, grid: Shape) -> list[Node]:
    """Tapped features [B, K, h, w, d], shallowest first."""
    network = b.network
    width, tokens = network.width, grid[0] * grid[1] * grid[2]
    z = _embedding(b, x, detail, in_channels, grid)
    tapped = []
    for number in range(1, network.depth + 1):
        name = f"encoder.blocks.{number - 1}"
        z = b.ops.add(z, _attention(b, b.layer_norm(z, f"{name}.attention_norm"), name, tokens))
        hidden = b.linear(b.layer_norm(z, f"{name}.mlp_norm"), f"{name}.mlp_hidden", width, network.mlp_width)
        z = b.ops.add(
            z, b.linear(b.ops.gelu(hidden), f"{name}.mlp_output", network.mlp_width, width, scale=f"{name}.mlp_scale")
        )
        if number in network.taps:
            tapped.append(z)
    if network.final_norm:
        tapped[-1] = b.layer_norm(tapped[-1], "encoder.norm")
    return [b.ops.reshape(b.ops.transpose(tap, (0, 2, 1)), (width, *grid)) for tap in tapped]


def _embedding(b: Builder, x: Node, detail: Node, in_channels: int, grid: Shape) -> Node:
    """Tokens [B, N, K]: the patches' projection, as the strided convolution that it is, plus positions.

    With a stem, plus the projection of its last level, `detail`.
    """
    p, width = b.network.patch, b.network.width
    tokens = grid[0] * grid[1] * grid[2]
    innermost = b.network.projection == "linear"  # voxels of a patch in the order P, P, P, C
    z = b.ops.convolve(x, _cube_kernel(b, "embedding.projection.weight", p, in_channels, innermost), p, 0)
    if b.network.has_stem:
        channels = b.network.level_channels[-1]
        kernel = _cube_kernel(b, "embedding.stem_projection.weight", 2, channels, channels_innermost=True)
        z = b.ops.add(z, b.ops.convolve(detail, kernel, 2, 0))
    z = b.ops.transpose(b.ops.reshape(z, (width, tokens)), (0, 2, 1))
    shift = b.weights.take("embedding.projection.bias", width) + b.weights.take("embedding.position", tokens, width)
    return b.ops.add(z, b.ops.constant(shift[None]))


def _cube_kernel(b: Builder, name: str, side: int, channels: int, channels_innermost: bool) -> NDArray[Any]:
    """The linear map of cubes of side^3 voxels, as the kernel [K, channels, side, side, side] of a convolution."""
    weight = b.weights.take(name, b.network.width, side**3 * channels)
    if not channels_innermost:
        return weight.reshape(-1, channels, side, side, side)
    return np.ascontiguousarray(np.moveaxis(weight.reshape(-1, side, side, side, channels), 4, 1))


def _attention(b: Builder, x: Node, name: str, tokens: int) -> Node:
    """Multi-head self-attention of the block `name`, [B, N, K] -> [B, N, K]."""
    width, heads = b.network.width, b.network.heads
    head = width // heads
    qkv = b.linear(x, f"{name}.attention.qkv", width, 3 * width, bias=b.network.qkv_bias)
    qkv = b.ops.transpose(b.ops.reshape(qkv, (tokens, 3, heads, head)), (0, 2, 3, 1, 4))
    q, k, v = (b.ops.pick(qkv, index) for index in range(3))  # each [B, heads, N, K_h]
    scores = b.ops.matmul(b.ops.scale(q, head**-0.5), k, transpose_b=True)
    mixed = b.ops.matmul(b.ops.softmax(scores), v, transpose_b=False)
    mixed = b.ops.reshape(b.ops.transpose(mixed, (0, 2, 1, 3)), (tokens, width))
    return b.linear(mixed, f"{name}.attention.output", width, width, scale=f"{name}.attention_scale")
