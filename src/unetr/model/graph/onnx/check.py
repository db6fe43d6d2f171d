"""Whether an ONNX file is the network of its plan, as `unetr export` writes it, with weights of its own and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from unetr.core.plan.schema import Plan
from unetr.model.graph.forward import build_graph
from unetr.model.graph.onnx.file import OnnxGraph, is_file_of
from unetr.model.graph.onnx.graph import OnnxOperations
from unetr.model.graph.onnx.metadata import has_external_data, onnx_constants
from unetr.model.network.shapes import Shapes, network_problem, weight_shapes

# Two kernels become one on the way to a file, of at least half their size.
_MOST_WEIGHTS_PER_FLOAT = 4


def onnx_problem(data: bytes, plan: Plan, metadata: Mapping[str, str]) -> str:
    """What an ONNX file has that `unetr export` does not write for this plan; empty where it is one of its files.

    So it has no weights in other files, no other operations, no other sizes, and no field that readers differ about.
    metadata: what the file says of itself, all of it.
    """
    if has_external_data(data):
        return "it keeps weights in another file, or cannot be followed to its end"
    problem = "network.peer is set" if plan.network.peer is not None else network_problem(plan.network)
    if problem:
        return problem
    shapes = weight_shapes(plan)
    if is_too_small(shapes, len(data)):
        return "it is too small for the network of its plan"
    graph = _graph_of(plan, shapes)
    try:
        found = onnx_constants(data)
    except (ValueError, KeyError):
        return "its weights cannot be read"
    weights = {constant.name: found.get(constant.name, memoryview(b"")) for constant in graph.constants}
    weights = {constant.name: weights[constant.name] for constant in graph.constants if constant.is_weight}
    if any(len(weights[c.name]) != 4 * math.prod(c.array.shape) for c in graph.constants if c.is_weight):
        return "its weights are not those of its plan's network, or are missing"
    if not is_file_of(data, graph, metadata, weights):
        return "its network is not the one of its plan, or is written in another way"
    return values_problem(weights)


def is_too_small(shapes: Shapes, size: int) -> bool:
    """Whether a file of `size` bytes cannot hold weights of these shapes, as an exported network has them."""
    return sum(map(math.prod, shapes.values())) > _MOST_WEIGHTS_PER_FLOAT * size // 4


def values_problem(weights: Mapping[str, memoryview]) -> str:
    """Names the first array of little-endian float32 that is not finite; empty where all are."""
    for name, raw in weights.items():
        values = np.frombuffer(raw, "<f4")
        if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
            return f"{name[:60]} has values that are NaN or infinite"
    return ""


def stand_ins(shapes: Shapes) -> dict[str, np.ndarray]:
    """Arrays of these shapes that take no memory, for building a network without weights."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _graph_of(plan: Plan, shapes: Shapes) -> OnnxGraph:
    operations = OnnxOperations()
    logits = build_graph(operations, plan, stand_ins(shapes), "the plan")
    return operations.graph(logits, (plan.outputs, *plan.window))
