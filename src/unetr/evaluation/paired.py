"""Two methods on the same cases: the mean difference and its confidence interval. Knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetr.evaluate.summary import bootstrap_interval


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean over cases of first - second, and the 95 % interval of a bootstrap over cases.

    n: cases in which both are defined; the others are left out.
    """

    mean: float
    ci_low: float
    ci_high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.ci_low > 0 or self.ci_high < 0


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """One value per case and method, cases in the same order; NaN is undefined.

    Raises ValueError for different numbers of cases.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} cases cannot be paired")
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    n = int(np.count_nonzero(~np.isnan(differences)))
    if not n:
        return PairedDifference(math.nan, math.nan, math.nan, 0)
    low, high = bootstrap_interval(differences)
    return PairedDifference(float(np.nanmean(differences)), low, high, n)
