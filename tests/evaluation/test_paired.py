"""Paired differences: hand-worked, undefined cases left out, the interval of a constant difference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unetr.evaluation.summary import paired_difference


def test_a_constant_difference_has_no_spread() -> None:
    found = paired_difference([0.9, 0.8, 0.7], [0.85, 0.75, 0.65])
    assert found.n == 3
    assert (found.mean, found.ci_low, found.ci_high) == pytest.approx((0.05, 0.05, 0.05))
    assert found.excludes_zero


def test_undefined_cases_are_left_out() -> None:
    found = paired_difference([0.9, math.nan, 0.5, 0.7], [0.8, 0.1, math.nan, 0.4])
    assert found.n == 2
    assert found.mean == pytest.approx(0.2)


def test_pairing_tells_what_unpaired_intervals_cannot() -> None:
    """Two methods whose cases differ a lot from each other, and each case by little: only the pairs show it."""
    hard = np.random.default_rng(0).uniform(0.3, 0.9, 40)
    noise = np.random.default_rng(1).normal(0, 0.002, 40)
    better = paired_difference(hard + 0.01 + noise, hard)
    assert better.excludes_zero and 0.009 < better.ci_low < better.mean < better.ci_high < 0.011
    assert not paired_difference(hard + noise - noise.mean(), hard).excludes_zero


def test_the_interval_is_the_percentile_bootstraps() -> None:
    """Against scipy's bootstrap of the same differences."""
    from scipy.stats import bootstrap

    random = np.random.default_rng(2)
    first, second = random.normal(0.85, 0.05, 60), random.normal(0.84, 0.05, 60)
    found = paired_difference(first, second)
    theirs = bootstrap((first - second,), np.mean, method="percentile", n_resamples=9999, rng=3).confidence_interval
    assert found.ci_low == pytest.approx(theirs.low, abs=1e-3)
    assert found.ci_high == pytest.approx(theirs.high, abs=1e-3)


def test_nothing_in_common() -> None:
    found = paired_difference([math.nan], [1.0])
    assert found.n == 0 and math.isnan(found.mean) and not found.excludes_zero
    with pytest.raises(ValueError, match="2 and 1 cases"):
        paired_difference([1.0, 2.0], [1.0])
