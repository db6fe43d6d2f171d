"""How sure the network is: the entropy of its probabilities per voxel, and its mean confidence per class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan
from unetr.core.plan.targets import IN_REGION
from unetr.infer.sweep.windows import Float

# 0 log 0 is 0: a probability of 0 is multiplied with the logarithm of this instead.
_TINY = np.float32(np.finfo(np.float32).tiny)


def entropy(probabilities: Float, *, regions: bool = False) -> Float:
    """Uncertainty float32 [...] in [0, 1] of probabilities [J, ...]: 0 when the network is sure, 1 when it guesses.

    Classes: the entropy of the distribution over all J classes, divided by log J. Regions: the largest, over the
    regions, of the entropy of "inside or not", divided by log 2. The largest and not the mean: doubt about one region
    must not fade because the others are clear, nor depend on how many others there are.
    Memory beyond the result is two arrays of its size. Raises ValueError for classes with J < 2.
    """
    if regions:
        result = _yes_or_no(probabilities[0])
        for inside in probabilities[1:]:
            np.maximum(result, _yes_or_no(inside), out=result)
        return result
    if len(probabilities) < 2:
        raise ValueError("the entropy of classes needs at least two of them")
    result = _term(probabilities[0])
    for probability in probabilities[1:]:
        result += _term(probability)
    result /= np.float32(math.log(len(probabilities)))
    return np.clip(result, 0, 1, out=result)


def _yes_or_no(probability: Float) -> Float:
    result = _term(probability)
    result += _term(1 - probability)
    result /= np.float32(math.log(2))
    return np.clip(result, 0, 1, out=result)


def _term(probability: Float) -> Float:
    """-p log p, 0 at p = 0."""
    result = np.maximum(probability, _TINY, dtype=np.float32)
    np.log(result, out=result)
    result *= probability
    return np.negative(result, out=result)


@dataclass(frozen=True, slots=True)
class ConfidenceSum:
    """Sums for the mean confidence per foreground class or region; `add` returns the sums with another part.

    names: what is reported. sums, voxels: of the probabilities added so far and their number, in the same order.
    """

    names: tuple[str, ...]
    regions: bool
    sums: tuple[float, ...]
    voxels: tuple[int, ...]

    @classmethod
    def start(cls, plan: Plan) -> ConfidenceSum:
        """Nothing added yet."""
        names = tuple(target.name for target in plan.targets)
        return cls(names, plan.has_regions, (0.0,) * len(names), (0,) * len(names))

    def add(self, probabilities: Float, winners: NDArray[np.integer] | None = None) -> ConfidenceSum:
        """With a part of a scan: probabilities [J, ...], and per voxel the index [...] of its class (0: background).

        winners: what was decided for each voxel, None for the most probable class; left out for regions. Parts may have
        any shape; each voxel must be in one of them. Raises ValueError when J is not the plan's.
        """
        expected = len(self.names) + (not self.regions)
        if len(probabilities) != expected:
            raise ValueError(f"probabilities have {len(probabilities)} channels, expected {expected}")
        if self.regions:
            chosen = [region[region > IN_REGION] for region in probabilities]
            return self._plus([float(p.sum(dtype=np.float64)) for p in chosen], [p.size for p in chosen])
        if winners is None:
            winners = probabilities.argmax(axis=0)
        where = np.nonzero(winners)
        index = winners[where].astype(np.intp)
        sums = np.bincount(index, weights=probabilities[(index, *where)], minlength=expected)
        return self._plus(sums[1:].tolist(), np.bincount(index, minlength=expected)[1:].tolist())

    def mean(self) -> dict[str, float]:
        """Name -> mean probability, over the voxels that were given to it; NaN for what does not occur."""
        totals = zip(self.names, self.sums, self.voxels, strict=True)
        return {name: total / count if count else math.nan for name, total, count in totals}

    def plus(self, other: ConfidenceSum) -> ConfidenceSum:
        """The sums of both."""
        return self._plus(other.sums, other.voxels)

    def _plus(self, sums: Sequence[float], voxels: Sequence[int]) -> ConfidenceSum:
        return ConfidenceSum(
            self.names,
            self.regions,
            tuple(a + b for a, b in zip(self.sums, sums, strict=True)),
            tuple(a + b for a, b in zip(self.voxels, voxels, strict=True)),
        )
