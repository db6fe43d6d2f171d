"""Where in a scan's own scale of percentiles its labels lie: what a clip at percentiles would take from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.fingerprint import ContrastStatistics
from unetr.core.plan.schema import ChannelPlan
from unetr.core.space.volume import Array

# The clip of z-score where nothing else is asked for.
USUAL_CLIP = ChannelPlan.model_fields["clip_percentiles"].default
# A label is held by a clip where all but these shares of its voxels, darkest and brightest, lie within it.
_HELD = (0.1, 0.9)
# A channel with at most so many different values in every scan is a mask or a label map.
MOST_VALUES = 32
# A channel of which all but so many per cent of the voxels are equal is sparse.
_BODY = (5.0, 95.0)
_STRIDED_VOXELS = 100_000
# In deviations; a clip that leaves one single value would lose without limit.
_LARGEST_LOSS = 999.0


@dataclass(frozen=True, slots=True)
class ChannelContrast:
    """One channel of one scan; the lists of `ContrastStatistics` say what each means. values: None for too many."""

    low_percentile: float
    high_percentile: float
    low_loss: float
    high_loss: float
    darkest: float | None
    brightest: float | None
    collapsed: bool
    values: tuple[float, ...] | None


def channel_contrast(channel: Array, labels: NDArray[np.integer], present: list[int]) -> ChannelContrast:
    """Measures a channel [X, Y, Z] at the voxels of each value in `present` of labels [X, Y, Z]."""
    flat = np.ascontiguousarray(channel).reshape(-1).astype(np.float32, copy=False)
    low, dark, bright, high = (float(value) for value in np.percentile(flat, (USUAL_CLIP[0], *_BODY, USUAL_CLIP[1])))
    clipped = np.clip(flat, np.float32(low), np.float32(high))
    std = float(clipped.std(dtype=np.float64))
    below, above = np.sort(flat[flat < low]), np.sort(flat[flat > high])
    wanted = [*USUAL_CLIP]
    losses = [0.0, 0.0]
    ends: list[float] = []
    own = labels.reshape(-1)
    chosen = np.flatnonzero(np.isin(own, present)) if present else np.empty(0, np.intp)
    chosen_values, chosen_labels = flat[chosen], own[chosen]
    for value in present:
        darkest, brightest = np.quantile(chosen_values[chosen_labels == value], _HELD, method="nearest")
        ends += [float(darkest), float(brightest)]
        if darkest < low:
            last = np.searchsorted(below, darkest, side="right") - 1
            wanted[0] = min(wanted[0], 100 * last / (flat.size - 1))
            losses[0] = max(losses[0], _deviations(low - float(darkest), std))
        if brightest > high:
            first = flat.size - above.size + np.searchsorted(above, brightest, side="left")
            wanted[1] = max(wanted[1], 100 * first / (flat.size - 1))
            losses[1] = max(losses[1], _deviations(float(brightest) - high, std))
    collapsed = (low == bright or dark == high) and bool(flat.min() < flat.max())
    few = _few_values(flat)
    darkest, brightest = (min(ends), max(ends)) if ends else (None, None)
    return ChannelContrast(wanted[0], wanted[1], losses[0], losses[1], darkest, brightest, collapsed, few)


def is_sparse(channel: Array) -> bool:
    """Whether a channel [X, Y, Z] is a mask, a label map, or nearly all one value."""
    flat = np.ascontiguousarray(channel).reshape(-1)
    return _few_values(flat) is not None or bool(np.mean(flat == np.median(flat)) > _BODY[1] / 100)


def contrast_statistics(
    cases: list[tuple[ChannelContrast, ...]], names: tuple[str, ...]
) -> dict[str, ContrastStatistics]:
    """Of all cases, per channel."""
    result = {}
    for index, name in enumerate(names):
        found = [case[index] for case in cases]
        few = [facts.values for facts in found if facts.values is not None]
        values = sorted(set().union(*few)) if len(few) == len(found) else []
        result[name] = ContrastStatistics(
            low_percentiles=[_rounded(facts.low_percentile) for facts in found],
            high_percentiles=[100 - _rounded(100 - facts.high_percentile) for facts in found],
            low_losses=[_rounded(facts.low_loss) for facts in found],
            high_losses=[_rounded(facts.high_loss) for facts in found],
            darkest=[_rounded(facts.darkest) for facts in found if facts.darkest is not None],
            brightest=[_rounded(facts.brightest) for facts in found if facts.brightest is not None],
            collapsed=sum(facts.collapsed for facts in found),
            values=values if len(values) <= MOST_VALUES else [],
            values_per_scan=max((len(some) for some in few), default=0) if values else 0,
        )
    return result


def _deviations(distance: float, std: float) -> float:
    return min(_LARGEST_LOSS, distance / std) if std > distance / _LARGEST_LOSS else _LARGEST_LOSS


def _few_values(flat: Array) -> tuple[float, ...] | None:
    """All values, where there are few; a strided sample decides whether it is worth to look at all voxels."""
    some = np.unique(flat[:: max(1, flat.size // _STRIDED_VOXELS)])
    if some.size > MOST_VALUES:
        return None
    every = np.unique(flat)
    return tuple(float(value) for value in every) if every.size <= MOST_VALUES else None


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")
