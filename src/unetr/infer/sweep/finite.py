"""Scores that are NaN or infinite decide nothing: what became of them would look like a result, and often like 0 ml."""

from __future__ import annotations

import math

from unetr.errors import InputError
from unetr.infer.sweep.windows import Engine, Float


def finite(engine: Engine, source: str) -> Engine:
    """An engine that raises InputError, naming `source`, for windows whose scores are not all finite."""

    def run(windows: Float) -> Float:
        logits = engine(windows)
        check_finite(logits, source)
        return logits

    return run


def check_finite(logits: Float, source: str) -> None:
    """Raises InputError that names `source`. Two passes without a copy: where one is NaN, so are least and largest."""
    if not (math.isfinite(logits.min()) and math.isfinite(logits.max())):
        raise InputError(
            f"{source}: gives scores that are NaN or infinite for this scan; expected numbers: the scan's intensities "
            "are far from those of training, or the model is broken"
        )
