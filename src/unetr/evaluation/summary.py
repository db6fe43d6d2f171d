"""Statistics over cases: mean, median, spread, a confidence interval by bootstrap; the difference of two methods on the
same cases. Knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

METRICS = ("dice", "iou", "hd95_mm", "assd_mm", "nsd")
RESAMPLES = 2000
SEED = 20210318


@dataclass(frozen=True, slots=True)
class Statistic:
    """Of one metric over cases. n: cases in which it is defined; undefined: the others, left out of the rest.

    std: with n - 1; NaN for one case. ci_low, ci_high: 95 % confidence interval of the mean.
    """

    mean: float
    median: float
    std: float
    n: int
    undefined: int
    ci_low: float
    ci_high: float


def statistic(values: Sequence[float] | NDArray[np.float64]) -> Statistic:
    """Summarises one value per case; NaN is undefined."""
    all_values = np.asarray(values, dtype=np.float64)
    defined = all_values[~np.isnan(all_values)]
    n, undefined = defined.size, all_values.size - defined.size
    if not n:
        return Statistic(math.nan, math.nan, math.nan, 0, undefined, math.nan, math.nan)
    low, high = bootstrap_interval(all_values)
    std = float(defined.std(ddof=1)) if n > 1 else math.nan
    return Statistic(float(defined.mean()), float(np.median(defined)), std, n, undefined, low, high)


def bootstrap_interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, chapter 13), cases drawn with replacement.

    values: one per case, NaN = undefined: such a case can be drawn and then adds nothing. (NaN, NaN) for fewer than two
    defined values, since one case says nothing about the spread.
    """
    defined = ~np.isnan(values)
    if np.count_nonzero(defined) < 2:
        return math.nan, math.nan
    draws = np.random.default_rng(SEED).multinomial(values.size, np.full(values.size, 1 / values.size), RESAMPLES)
    numbers = draws @ defined
    sums = draws @ np.where(defined, values, 0.0)
    means = sums[numbers > 0] / numbers[numbers > 0]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def case_means(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Per case, the mean over its classes: rows [cases][classes] -> [cases]; NaN entries are left out."""
    table = np.asarray(rows, dtype=np.float64)
    if not table.size:
        return np.empty(0)
    defined = ~np.isnan(table)
    number = defined.sum(axis=1)
    total = np.where(defined, table, 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.full(len(table), np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means


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
