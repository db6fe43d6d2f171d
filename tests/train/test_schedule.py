"""The closed forms of the schedule against hand-worked numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr.train.optimise.schedule import (
    RESERVE,
    TIMED_TO,
    VALIDATED_AT,
    averaging_decay,
    learning_rate,
    steps_in,
    validation_steps,
    validations_in,
)


def test_warmup_is_linear_and_reaches_the_peak() -> None:
    rates = [learning_rate(step, 1000, 1.0, 4) for step in range(4)]
    assert rates == [0.25, 0.5, 0.75, 1.0]


def test_cosine_goes_through_its_known_points() -> None:
    # 100 warm-up steps, then 900 of cosine: half way the cosine is 1/2, a third of the way (1 + cos 60) / 2 = 3/4.
    assert learning_rate(100, 1000, 2e-4, 100) == pytest.approx(2e-4)
    assert learning_rate(550, 1000, 2e-4, 100) == pytest.approx(1e-4)
    assert learning_rate(400, 1000, 2e-4, 100) == pytest.approx(1.5e-4)
    assert learning_rate(1000, 1000, 2e-4, 100) == pytest.approx(0.0, abs=1e-20)


def test_warmup_takes_at_most_a_tenth_of_a_short_training() -> None:
    assert learning_rate(0, 20, 1.0, 50) == 0.5
    assert learning_rate(1, 20, 1.0, 50) == 1.0


def test_before_the_number_of_steps_is_known_the_rate_is_that_of_a_long_training() -> None:
    for step in range(TIMED_TO):
        assert learning_rate(step, None, 1.0, 50) == learning_rate(step, 10_000, 1.0, 50)


@given(st.integers(1, 5000), st.integers(0, 200), st.data())
def test_rate_stays_between_zero_and_the_peak(steps: int, warmup: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < learning_rate(step, steps, 3e-4, warmup) <= 3e-4


def test_minutes_become_the_steps_that_fit() -> None:
    # 10 min less the reserve, 30 s gone and 20 s for validations, at 0.5 s a step; 16 steps are done already.
    left = 600 * (1 - RESERVE) - 30 - 20
    assert steps_in(10, 30, 16, 0.5, 20) == 16 + math.floor(left / 0.5)


def test_a_budget_that_is_already_spent_still_ends_after_a_step() -> None:
    assert steps_in(0.1, 60, 16, 1.0, 10) == 17


def test_validations_lie_inside_the_training() -> None:
    assert validation_steps(100) == {30, 50, 65, 80, 90}
    assert 0 not in validation_steps(1)
    assert 1 not in validation_steps(1)
    assert validation_steps(100, 2) == {80, 90}
    assert validation_steps(100, len(VALIDATED_AT)) == validation_steps(100)


@pytest.mark.parametrize(
    ("minutes", "validation_s", "validations"),
    [
        (10, 0.0, 5),
        (10, 6.0, 5),  # 5 % of ten minutes are 30 s
        (10, 6.1, 4),
        (10, 14.0, 2),
        (10, 90.0, 1),  # one is made whatever it takes
    ],
)
def test_validations_take_a_twentieth_of_a_budget(minutes: float, validation_s: float, validations: int) -> None:
    assert validations_in(minutes, validation_s) == validations


def test_averaging_forgets_the_start_first() -> None:
    assert averaging_decay(0, 0.99) == pytest.approx(0.1)
    assert averaging_decay(10_000, 0.99) == 0.99
