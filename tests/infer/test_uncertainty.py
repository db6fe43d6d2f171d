"""Entropy and confidence against closed forms and scipy, and parts against the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from unetr.core.plan.schema import ChannelPlan, Plan, Region
from unetr.infer.sweep.uncertainty import ConfidenceSum, entropy


def plan(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "dataset": "d",
        "channels": (ChannelPlan(name="MRI"),),
        # Not in the order of their values: the network's order is by value.
        "labels": {"background": 0, "hard": 7, "soft": 3},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (16, 16, 16),
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


REGIONS = (
    Region(name="whole", labels=(3, 7), written_as=1),
    Region(name="core", labels=(7,), written_as=2),
)


def random_probabilities(classes: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(scale=3, size=(classes, *shape))
    return np.asarray(softmax(logits, axis=0), dtype=np.float32)


@pytest.mark.parametrize("classes", [2, 3, 14, 117])
def test_sure_is_zero_and_guessing_is_one(classes):
    sure = np.zeros((classes, 2, 1, 1), dtype=np.float32)
    sure[0, 0] = sure[-1, 1] = 1
    assert (entropy(sure) == 0).all()
    guess = np.full((classes, 1, 2, 3), 1 / classes, dtype=np.float32)
    assert entropy(guess) == pytest.approx(np.ones((1, 2, 3)), abs=1e-6)


def test_two_of_four_classes_is_one_half():
    half = np.array([0.5, 0.5, 0, 0], dtype=np.float32).reshape(4, 1, 1, 1)
    assert entropy(half).item() == pytest.approx(0.5)


def test_entropy_equals_scipys_and_leaves_its_input_alone():
    probabilities = random_probabilities(5, (4, 3, 2))
    before = probabilities.copy()
    result = entropy(probabilities)
    assert result.dtype == np.float32
    assert result == pytest.approx(scipy_entropy(probabilities.astype(float), base=5, axis=0), abs=1e-5)
    assert np.array_equal(probabilities, before)


@given(npst.arrays(np.float32, (3, 2, 2), elements=st.floats(0, 1, width=32)))
def test_entropy_stays_within_zero_and_one(values):
    """Interpolated probabilities need not sum to 1 exactly, and may be as small as float32 has them."""
    for regions in (False, True):
        result = entropy(values, regions=regions)
        assert np.isfinite(result).all()
        assert ((result >= 0) & (result <= 1)).all()


def test_entropy_of_regions_is_that_of_the_most_doubtful_one():
    inside = np.array([[0.0, 1.0, 0.5, 0.9], [1.0, 1.0, 0.01, 0.2]], dtype=np.float32).reshape(2, 4, 1, 1)
    binary = scipy_entropy(np.stack([inside, 1 - inside]).astype(float), base=2, axis=0)
    assert entropy(inside, regions=True) == pytest.approx(binary.max(axis=0), abs=1e-5)
    assert entropy(inside, regions=True).ravel()[:3] == pytest.approx([0, 0, 1])


def test_entropy_of_one_class_is_refused():
    with pytest.raises(ValueError, match="two"):
        entropy(np.ones((1, 2, 2, 2), dtype=np.float32))


def test_confidence_by_hand():
    probabilities = np.array(
        [[0.9, 0.2, 0.3, 0.1], [0.1, 0.6, 0.3, 0.1], [0.0, 0.2, 0.4, 0.8]], dtype=np.float32
    ).reshape(3, 4, 1, 1)
    mean = ConfidenceSum.start(plan()).add(probabilities).mean()
    assert list(mean) == ["soft", "hard"]
    assert mean == pytest.approx({"soft": 0.6, "hard": (0.4 + 0.8) / 2})
    # After a rule took the third voxel away.
    winners = np.array([0, 1, 0, 2], dtype=np.uint8).reshape(4, 1, 1)
    assert ConfidenceSum.start(plan()).add(probabilities, winners).mean() == pytest.approx({"soft": 0.6, "hard": 0.8})


def test_confidence_of_regions_by_hand():
    inside = np.array([[0.9, 0.7, 0.5, 0.1], [0.2, 0.4, 0.1, 0.1]], dtype=np.float32).reshape(2, 4, 1, 1)
    mean = ConfidenceSum.start(plan(regions=REGIONS)).add(inside).mean()
    assert mean["whole"] == pytest.approx(0.8)
    assert math.isnan(mean["core"])


def test_nothing_added_is_nan():
    assert all(math.isnan(value) for value in ConfidenceSum.start(plan()).mean().values())


@pytest.mark.parametrize("regions", [(), REGIONS])
@given(cuts=st.lists(st.integers(0, 9), max_size=4), axis=st.integers(1, 3), seed=st.integers(0, 99))
def test_parts_equal_the_whole(regions, cuts, axis, seed):
    probabilities = random_probabilities(2 if regions else 3, (9, 9, 9), seed)
    whole = ConfidenceSum.start(plan(regions=regions)).add(probabilities)
    parts = ConfidenceSum.start(plan(regions=regions))
    for part in np.split(probabilities, sorted(cuts), axis=axis):
        parts = parts.add(part)
    assert parts.voxels == whole.voxels
    assert parts.mean() == pytest.approx(whole.mean(), rel=1e-9, nan_ok=True)


def test_confidence_refuses_other_channels():
    with pytest.raises(ValueError, match="3"):
        ConfidenceSum.start(plan()).add(random_probabilities(2, (2, 2, 2)))
