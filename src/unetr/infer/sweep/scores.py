"""From the network's logits to probabilities and to what is decided for each voxel.

A decision is a whole number per voxel: of classes the index of the most probable, of regions one bit for each that
holds the voxel. Where the corners of a cell agree in it, so does every point between them (see `restore`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan
from unetr.core.plan.targets import IN_REGION

Float = NDArray[np.float32]
Decisions = NDArray[np.unsignedinteger[Any]]

# Probabilities are averaged, then turned to logits again: none may be 0, and in float32 none can be closer to 1.
_LEAST = np.float32(1e-30)
_LEAST_OF_REGION = np.float32(6e-8)


def probabilities(logits: Float, *, regions: bool, axis: int = 0) -> Float:
    """In place: softmax along the axis of the classes, or the logistic function of each region."""
    if regions:
        np.negative(logits, out=logits)
        np.minimum(logits, np.float32(88), out=logits)  # exp stays finite
        np.exp(logits, out=logits)
        logits += 1
        return np.reciprocal(logits, out=logits)
    logits -= logits.max(axis=axis, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=axis, keepdims=True)
    return logits


def logits_of(probability: Float, *, regions: bool) -> Float:
    """In place: logits of which `probabilities` makes these probabilities again."""
    if regions:
        np.clip(probability, _LEAST_OF_REGION, 1 - _LEAST_OF_REGION, out=probability)
        rest = np.float32(1) - probability
        probability /= rest
    else:
        np.maximum(probability, _LEAST, out=probability)
    return np.log(probability, out=probability)


def decide(probability: Float, plan: Plan, axis: int = 0) -> Decisions:
    """Decisions [...] from probabilities with the classes or regions along `axis`; of equal classes the first."""
    parts = np.moveaxis(probability, axis, 0)
    if plan.has_regions:
        bits = np.zeros(parts.shape[1:], dtype=np.uint64)
        for index, part in enumerate(parts):
            bits |= (part > IN_REGION).astype(np.uint64) << np.uint64(index)
        return bits
    best = parts[0].copy()
    winners = np.zeros(best.shape, dtype=np.uint8 if len(parts) <= 256 else np.uint16)
    better = np.empty(best.shape, dtype=np.bool_)
    for index in range(1, len(parts)):
        np.greater(parts[index], best, out=better)
        np.copyto(winners, index, where=better, casting="unsafe")
        np.maximum(best, parts[index], out=best)
    return winners


def label_type(plan: Plan) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds the values of the plan's label files."""
    return np.uint8 if max(plan.written_values.values()) < 256 else np.uint16


def label_values(decisions: Decisions, plan: Plan) -> NDArray[np.unsignedinteger[Any]]:
    """What the label file says where this was decided. A later region is written over an earlier one."""
    if not plan.has_regions:
        return np.asarray(plan.class_values, dtype=label_type(plan))[decisions]
    values = np.zeros(decisions.shape, dtype=label_type(plan))
    for index, region in enumerate(plan.regions):
        values[_holds(decisions, index)] = region.written_as
    return values


def count_voxels(decisions: Decisions, plan: Plan) -> NDArray[np.int64]:
    """Voxels [J] of each class, background first, or of each region (one in several regions counts in each)."""
    if plan.has_regions:
        return np.array([np.count_nonzero(_holds(decisions, index)) for index in range(plan.outputs)])
    return np.bincount(decisions.ravel(), minlength=plan.outputs)


def _holds(decisions: Decisions, index: int) -> NDArray[np.bool_]:
    held: NDArray[np.bool_] = (decisions >> np.uint64(index) & np.uint64(1)).astype(np.bool_)
    return held


def outside_scores(plan: Plan) -> list[float]:
    """Probabilities [J] of a voxel that the crop left out: background for sure, in no region."""
    return [0.0] * plan.outputs if plan.has_regions else [1.0] + [0.0] * (plan.outputs - 1)
