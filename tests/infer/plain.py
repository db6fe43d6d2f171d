"""The oracle: prediction with everything in memory at once, as plainly as it can be written."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from unetr.core.plan.schema import Plan
from unetr.core.space.geometry import Placement, restore
from unetr.infer.sweep.blending import blending_weights
from unetr.infer.sweep.windows import centre_padding, window_starts

Engine = Callable[[np.ndarray], np.ndarray]


def window_grid(shape: tuple[int, ...], window: tuple[int, ...], overlap: float) -> list[tuple[int, ...]]:
    """Starts of all windows over a volume at least as large as the window, last axis fastest."""
    return list(product(*(window_starts(n, w, overlap) for n, w in zip(shape, window, strict=True))))


def sliding_window(
    image: np.ndarray, engine: Engine, window: tuple[int, int, int], overlap: float, blending: str
) -> np.ndarray:
    """Logits [J, X, Y, Z] of an image [C, X, Y, Z]."""
    shape = image.shape[1:]
    padding = centre_padding(shape, window)
    image = np.pad(image, [(0, 0), *padding])
    weights = blending_weights(window, blending)
    total = np.zeros(image.shape[1:])
    summed: np.ndarray | float = 0.0
    for start in window_grid(image.shape[1:], window, overlap):
        place = tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))
        logits = engine(image[:, *place][None].astype(np.float32))[0]
        part = np.zeros((len(logits), *image.shape[1:]))
        part[:, *place] = logits * weights
        summed = summed + part
        total[place] += weights
    inside = tuple(slice(before, before + n) for (before, _), n in zip(padding, shape, strict=True))
    return np.asarray(summed / total)[:, *inside]


def softmax(logits: np.ndarray, plan: Plan, axis: int = 0) -> np.ndarray:
    """In double precision; the logistic function for regions."""
    logits = logits.astype(np.float64)
    if plan.regions:
        return 1 / (1 + np.exp(-logits))
    exp = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def mean_of_views(engine: Engine, views: list[tuple[int, ...]], plan: Plan) -> Engine:
    """Mean probability of the mirrored windows, as logits."""

    def run(windows: np.ndarray) -> np.ndarray:
        found = []
        for view in views:
            axes = tuple(2 + axis for axis in view)
            found.append(np.flip(softmax(engine(np.flip(windows, axes).copy()), plan, axis=1), axes))
        mean = np.mean(found, axis=0)
        return np.log(mean / (1 - mean)) if plan.regions else np.log(mean)

    return run


def plain_prediction(
    image: np.ndarray, placement: Placement, plan: Plan, engine: Engine
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [J, X, Y, Z] and label values [X, Y, Z] on the scan's grid."""
    logits = sliding_window(image, engine, plan.window, plan.inference.overlap, plan.inference.blending)
    outside = [0.0] * plan.outputs if plan.regions else [1.0] + [0.0] * (plan.outputs - 1)
    scores = restore(softmax(logits, plan).astype(np.float32), placement, "linear", outside=outside)
    if not plan.regions:
        return scores, np.array(plan.class_values)[scores.argmax(axis=0)]
    labels = np.zeros(scores.shape[1:], dtype=int)
    for region, score in zip(plan.regions, scores, strict=True):
        labels[score > 0.5] = region.written_as
    return scores, labels
