"""Several views of a window, or several networks, as one engine: the mean of their probabilities.

The mean is taken window by window, so that a sweep needs the memory of one network's scores however many take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from unetr.core.machine.parallel import in_threads, ranges
from unetr.infer.sweep.scores import Float, logits_of, probabilities
from unetr.infer.sweep.windows import Engine

View = tuple[int, ...]
_PART = 16  # planes of a window that a thread takes at a time


def mirror_views(axes: Sequence[int]) -> list[View]:
    """All combinations of mirror axes, the unmirrored view first: axes (0, 1) give (), (0,), (1,), (0, 1)."""
    return [view for size in range(len(axes) + 1) for view in combinations(axes, size)]


def combined(engines: Sequence[Engine], views: Sequence[View], *, regions: bool) -> Engine:
    """An engine whose scores have the mean probabilities of all engines on all views.

    A view is a tuple of spatial axes along which the window is mirrored, and the scores mirrored back.
    Raises ValueError without engine or view.
    """
    if not engines or not views:
        raise ValueError("there is at least one engine and one view")
    if len(engines) == 1 and list(views) == [()]:
        return engines[0]
    share = np.float32(1 / (len(engines) * len(views)))

    def run(windows: Float) -> Float:
        total: Float | None = None
        for view in views:
            flipped = tuple(2 + axis for axis in view)
            mirrored = np.ascontiguousarray(np.flip(windows, flipped))
            for engine in engines:
                # A copy: what an engine returns may be its own buffer.
                scores = np.flip(engine(mirrored), flipped)
                if total is None:
                    total = np.zeros(scores.shape, dtype=np.float32)
                _add(total, scores, regions)
        assert total is not None  # there is an engine and a view  # noqa: S101
        return _finish(total, share, regions)

    return run


def _add(total: Float, scores: Float, regions: bool) -> None:
    def part(rows: slice) -> None:
        total[:, :, rows] += probabilities(scores[:, :, rows].copy(), regions=regions, axis=1)

    in_threads(part, ranges(total.shape[2], _PART))


def _finish(total: Float, share: np.float32, regions: bool) -> Float:
    def part(rows: slice) -> None:
        mean = total[:, :, rows]
        mean *= share
        logits_of(mean, regions=regions)

    in_threads(part, ranges(total.shape[2], _PART))
    return total
