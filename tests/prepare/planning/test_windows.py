"""The window, the spacing and the batch that a plan chooses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr.prepare.measure.fingerprint import side_effect
from unetr.prepare.planning.planner import (
    choose_batch_size,
    choose_spacing,
    choose_window,
    fill_window,
)
from unetr.prepare.planning.presets import PRESETS
from unetr.prepare.planning.training_memory import TrainingMemory


def test_side_effect_by_hand():
    # Offsets 1, 2, 3: mean 2, deviation 1. Constant 5: the floor. Symmetric: 0.
    assert side_effect([(1, 5, -4), (2, 5, 0), (3, 5, 4)]) == pytest.approx((2, 500, 0))
    assert side_effect([(1, 2, 3)]) == (0, 0, 0)


def test_a_window_larger_than_the_volume_is_filled_with_finer_voxels():
    spacing_mm, reason = fill_window((1.0, 2.0, 1.0), (20.0, 30.0, 32.0), (32, 48, 32))
    assert (spacing_mm, reason) == ((1.0, 2.0, 1.0), "")  # the last axis is full already
    spacing_mm, reason = fill_window((1.0, 2.0, 1.0), (20.0, 30.0, 20.0), (32, 48, 32))
    assert spacing_mm == (0.625, 1.25, 0.625)
    assert "1.6 times finer" in reason
    assert fill_window((1.0, 1.0, 1.0), (4.0, 4.0, 4.0), (32, 32, 32))[0] == (0.5, 0.5, 0.5)  # never more than 2 times
    assert fill_window((1.0, 1.0, 1.0), (300.0, 200.0, 90.0), (96, 96, 96))[0] == (1.0, 1.0, 1.0)


def test_spacing_rules():
    assert choose_spacing([(1, 1, 1), (2, 1, 1.5), (3, 1, 2)])[0] == (2, 1, 1.5)
    # Along the last axis the median 5 is more than 3 times the finest: the 10th percentile of 2..12 is 3.
    thick = [(1.0, 1.0, float(z)) for z in range(2, 13)]
    spacing_mm, reason = choose_spacing(thick)
    assert spacing_mm == (1, 1, 3)
    assert "10th percentile" in reason
    # One thin scan in ten does not make slices finer than the pixels.
    assert choose_spacing([(1, 1, 0.2)] * 2 + [(1, 1, 5)] * 8)[0] == (1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "patch", "most", "window"),
    [
        ((35, 50, 36), 16, 96**3, (48, 64, 48)),
        ((35, 50, 36), 8, 96**3, (40, 56, 40)),
        ((48, 64, 16), 16, 96**3, (48, 64, 32)),
        ((512, 512, 300), 16, 96**3, (96, 96, 96)),
        ((512, 512, 20), 16, 96**3, (160, 160, 32)),
        ((3, 3, 3), 16, 96**3, (32, 32, 32)),
        ((500, 500, 500), 16, 10, (32, 32, 32)),
    ],
)
def test_window_by_hand(shape, patch, most, window):
    assert choose_window(shape, patch, most)[0] == window


sides = st.integers(1, 700)


@given(st.tuples(sides, sides, sides), st.sampled_from([8, 16]), st.integers(64**3, 160**3))
def test_window_holds_its_promises(shape, patch, most):
    window, _ = choose_window(shape, patch, most)
    assert math.prod(window) <= most
    for side, size in zip(window, shape, strict=True):
        assert side % patch == 0
        assert 2 * patch <= side < max(size + patch, 2 * patch + 1)


def any_memory(free_gb=math.inf):
    """A thousandth of a GB for a thousand voxels, and one for the weights."""
    return TrainingMemory(weights_gb=1.0, voxel_gb=1e-6, free_gb=free_gb)


@pytest.mark.parametrize(
    ("window", "batch"), [((48, 64, 48), 4), ((96, 96, 96), 1), ((64, 64, 64), 2), ((32, 32, 32), 4)]
)
def test_batch_size(window, batch):
    chosen, reason = choose_batch_size(window, PRESETS["paper"], any_memory())
    assert chosen == batch
    assert reason.startswith("1 window of" if batch == 1 else f"{batch} windows of")
    assert f"training takes about {1 + batch * math.prod(window) / 1e6:.1f} GB of memory" in reason


@pytest.mark.parametrize(("processes", "batch"), [(1, 1), (2, 2), (3, 3)])
def test_each_process_has_a_window(processes, batch):
    assert choose_batch_size((64, 64, 64), PRESETS["small"], any_memory(), processes)[0] == batch


@pytest.mark.parametrize(
    ("free_gb", "processes", "batch", "taken"),
    [
        (1.5, 1, 4, "1.4 GB of memory"),  # of four windows of 0.1 GB
        (1.35, 1, 3, "1.3 GB of memory"),
        (1.25, 1, 2, "1.2 GB of memory"),
        (1.25, 2, 4, "1.2 GB of memory in each of 2 processes"),
        (1.15, 2, 2, "1.1 GB of memory in each of 2 processes"),
        (0.5, 1, 1, "1.1 GB of memory, more than the 0.5 GB that are free"),
    ],
)
def test_a_batch_fits_the_memory_of_each_process(free_gb, processes, batch, taken):
    chosen, reason = choose_batch_size((50, 50, 40), PRESETS["paper"], any_memory(free_gb), processes)
    assert chosen == batch
    assert reason.endswith(f"training takes about {taken}") or (batch == 1 and taken in reason)
