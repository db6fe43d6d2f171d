"""Sliding windows: where they are (see `slabs`). How much each of their voxels counts is `blending`'s to say.

Knows arrays only: the network is a function from windows to logits (see `engines`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Shape = tuple[int, int, int]
Engine = Callable[[Float], Float]
"""windows [B, C, H, W, D] -> logits [B, J, H, W, D], both float32."""


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis; neighbours overlap by at least `overlap` of the window.

    The step is window * (1 - overlap); the last window ends at the last voxel. A length up to the window's gives [0].
    """
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    return [*range(0, length - window, step), length - window]


def centre_padding(shape: Shape, window: Shape) -> list[tuple[int, int]]:
    """Voxels to add before and after each axis so that the volume is at least as large as the window."""
    missing = [max(0, w - n) for n, w in zip(shape, window, strict=True)]
    return [(m // 2, m - m // 2) for m in missing]
