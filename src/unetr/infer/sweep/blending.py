"""How windows that overlap become one: how much each voxel of a window counts in the mean over all windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unetr.infer.sweep.windows import Float, Shape

# Width of the Gaussian, as a share of the window's length, and the least weight that a voxel gets.
GAUSSIAN_SIGMA = 0.125
LEAST_WEIGHT = 1e-3


def blending_weights(window: Shape, blending: str) -> Float:
    """Weight of each voxel of a window [H, W, D], above 0. blending: a name of BLENDINGS, as in a plan."""
    return BLENDINGS[blending](window)


def _constant(window: Shape) -> Float:
    return np.ones(window, dtype=np.float32)


def _gaussian(window: Shape) -> Float:
    """A Gaussian about the window's centre: the network sees less around a voxel at the edge, and errs more there."""
    weights = np.ones((1, 1, 1))
    for axis, length in enumerate(window):
        distance = np.arange(length) - (length - 1) / 2
        profile = np.exp(-0.5 * (distance / (GAUSSIAN_SIGMA * length)) ** 2)
        weights = weights * np.expand_dims(profile, [a for a in range(3) if a != axis])
    return np.maximum(weights, LEAST_WEIGHT).astype(np.float32)


# Name in a plan -> weights of a window's voxels. The names are checked by `core.plan.schema.InferencePlan`.
BLENDINGS: dict[str, Callable[[Shape], Float]] = {"gaussian": _gaussian, "constant": _constant}
