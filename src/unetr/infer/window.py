"""Sliding windows: where they are, how much each voxel of a window counts, and the sweep that blends them.

Knows arrays only: the network is a function from windows to logits (see `engines`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Shape = tuple[int, int, int]
Engine = Callable[[Float], Float]
"""windows [B, C, H, W, D] -> logits [B, J, H, W, D], both float32."""

# Width of the Gaussian, as a share of the window's length, and the least weight that a voxel gets.
GAUSSIAN_SIGMA = 0.125
LEAST_WEIGHT = 1e-3


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis; neighbours overlap by at least `overlap` of the window.

    The step is window * (1 - overlap); the last window ends at the last voxel. A length up to the window's gives [0].
    """
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    return [*range(0, length - window, step), length - window]


def window_grid(shape: Shape, window: Shape, overlap: float) -> list[Shape]:
    """Starts of all windows over a volume at least as large as the window, last axis fastest."""
    x, y, z = (window_starts(n, w, overlap) for n, w in zip(shape, window, strict=True))
    return list(product(x, y, z))


def blending_weights(window: Shape, blending: str) -> Float:
    """Weight of each voxel of a window [H, W, D]: 1 everywhere (constant), or a Gaussian about its centre."""
    if blending == "constant":
        return np.ones(window, dtype=np.float32)
    weights = np.ones((1, 1, 1))
    for axis, length in enumerate(window):
        distance = np.arange(length) - (length - 1) / 2
        profile = np.exp(-0.5 * (distance / (GAUSSIAN_SIGMA * length)) ** 2)
        weights = weights * np.expand_dims(profile, [a for a in range(3) if a != axis])
    return np.maximum(weights, LEAST_WEIGHT).astype(np.float32)


def centre_padding(shape: Shape, window: Shape) -> list[tuple[int, int]]:
    """Voxels to add before and after each axis so that the volume is at least as large as the window."""
    missing = [max(0, w - n) for n, w in zip(shape, window, strict=True)]
    return [(m // 2, m - m // 2) for m in missing]


def sliding_window(
    image: Float, engine: Engine, window: Shape, overlap: float, blending: str, batch_size: int = 1
) -> Float:
    """Logits [J, X, Y, Z] of an image [C, X, Y, Z]: the weighted mean over all windows that cover a voxel.

    An image smaller than the window is padded with zeros around its centre, as in training.
    """
    x, y, z = image.shape[1:]
    padding = centre_padding((x, y, z), window)
    if any(before or after for before, after in padding):
        image = np.pad(image, [(0, 0), *padding])
    px, py, pz = image.shape[1:]
    weights = blending_weights(window, blending)
    total = np.zeros((px, py, pz), dtype=np.float32)
    summed: Float | None = None
    for starts in _batches(window_grid((px, py, pz), window, overlap), batch_size):
        places = [tuple(slice(s, s + w) for s, w in zip(start, window, strict=True)) for start in starts]
        logits = engine(np.stack([image[:, *place] for place in places]).astype(np.float32, copy=False))
        if summed is None:
            summed = np.zeros((logits.shape[1], px, py, pz), dtype=np.float32)
        for place, scores in zip(places, logits, strict=True):
            summed[:, *place] += scores * weights
            total[place] += weights
    if summed is None:
        raise ValueError("the image has no voxels")
    summed /= total
    inside = tuple(slice(before, before + n) for (before, _), n in zip(padding, (x, y, z), strict=True))
    return summed[:, *inside]


def _batches(items: list[Shape], size: int) -> Iterator[list[Shape]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
