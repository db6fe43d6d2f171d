"""What a budget changes in a plan, against passes and windows counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import AugmentPlan, ChannelPlan, Plan, TrainingPlan
from unetr.prepare.planning.budget import Budget, fit_augmentation, fit_preset, fit_spacing
from unetr.prepare.planning.presets import PRESETS
from unetr.prepare.planning.training_memory import training_memory


def hundred_cubes(side, spacing):
    """The facts of 100 scans of side^3 voxels that `fit_spacing` reads."""
    return Fingerprint.model_construct(cases=100, shapes=[(side,) * 3] * 100, spacings_mm=[spacing] * 100)


ANY_WINDOW = 10**9  # holds all there is


def test_a_budget_that_is_enough_changes_nothing():
    """100 scans of a million voxels, 400 million voxels seen: exactly 4 passes."""
    enough, facts = Budget(minutes=10, voxels_per_second=400e6 / 600), hundred_cubes(100, (1.0, 1.0, 1.0))
    assert fit_spacing((1.0, 1.0, 1.0), facts, enough, ANY_WINDOW) == ((1.0, 1.0, 1.0), "")


def test_a_short_budget_makes_voxels_coarser_and_says_so():
    """Half a pass: twice the length is 8 times fewer voxels, so 4 passes."""
    short = Budget(minutes=10, voxels_per_second=50e6 / 600)
    spacing, reason = fit_spacing((1.0, 1.0, 1.0), hundred_cubes(100, (1.0, 1.0, 1.0)), short, ANY_WINDOW)
    assert spacing == (2.0, 2.0, 2.0)
    assert "from 1x1x1 mm" in reason and "0.083 million voxels a second" in reason
    assert "0.5 times with windows of 100% of the median volume; at least 4 times" in reason
    assert "so there are 4 with 100%" in reason


def test_with_few_passes_a_window_has_to_see_much_of_a_volume():
    """20 passes, half of what makes any window do: half of 75 % of a volume.

    A window holds 1/8, so 3 times fewer voxels, and 1.45^3 = 3.05 is the first step beyond.
    """
    budget, facts = Budget(minutes=10, voxels_per_second=2000e6 / 600), hundred_cubes(100, (1.0, 1.0, 1.0))
    spacing, reason = fit_spacing((1.0, 1.0, 1.0), facts, budget, 50**3)
    assert spacing == (1.45, 1.45, 1.45)
    assert "20 times with windows of 12% of the median volume" in reason and "38% are wanted" in reason
    assert "so there are 61 with 38%" in reason


def test_with_many_passes_any_window_does():
    """40 passes over a hundred scans of which a window sees a thousandth."""
    budget, facts = Budget(minutes=10, voxels_per_second=4000e6 / 600), hundred_cubes(100, (1.0, 1.0, 1.0))
    assert fit_spacing((1.0, 1.0, 1.0), facts, budget, 10**3) == ((1.0, 1.0, 1.0), "")


def test_the_coarse_axis_of_thick_slices_stays_as_it_is():
    """In-plane 0.5 mm, slices of 3 mm: one pass becomes four by doubling the two fine axes."""
    facts = hundred_cubes(100, (0.5, 0.5, 3.0))
    spacing, _ = fit_spacing((0.5, 0.5, 3.0), facts, Budget(1, 100e6 / 60), ANY_WINDOW)
    assert spacing == (1.0, 1.0, 3.0)


@given(st.floats(0.01, 6000), st.tuples(*[st.floats(0.3, 5.0)] * 3), st.integers(10**3, 10**7))
def test_a_budget_never_refines_nor_coarsens_beyond_reason(millions, spacing, window):
    spacing = tuple(float(f"{value:.4g}") for value in spacing)
    found, reason = fit_spacing(spacing, hundred_cubes(100, spacing), Budget(1, millions * 1e6 / 60), window)
    assert all(new >= old for new, old in zip(found, spacing, strict=True))
    assert max(found) <= max(max(spacing), 3.01 * min(spacing))
    assert bool(reason) == (found != spacing)
    coarser = math.prod(found) / math.prod(spacing)
    passes, share = millions * coarser / 100, window * coarser / 100**3
    wanted = 0.75 * (1 - millions / 100 / 40)
    enough = passes >= 3.99 and share >= 0.998 * wanted
    assert enough or min(found) == pytest.approx(3 * min(spacing), rel=1e-3)


@pytest.mark.parametrize(
    ("cases", "windows", "more"), [(101, 3000, False), (100, 3000, True), (119, 9000, True), (120, 9000, False)]
)
def test_few_cases_seen_thirty_times_are_augmented_more(cases, windows, more):
    """3000 windows of 20^3 voxels in a minute: 29.7 of each of 101 cases, 30 of each of 100."""
    budget, mri = Budget(1, windows * 20**3 / 60), ChannelPlan(name="MRI", normalisation="zscore")
    usual = AugmentPlan(mirror_axes=(0,))
    augment, reason = fit_augmentation(usual, [mri], (20, 20, 20), cases, budget)
    assert (augment != usual) == more
    assert augment.mirror_axes == (0,)
    assert f"1 minutes are about {windows / cases:.2g} windows of each of {cases} cases" in reason
    assert ("random line" in reason) == (augment.remap_probability > 0) == more


def test_grey_values_with_units_are_not_remapped():
    channels = [
        ChannelPlan(name="MRI", normalisation="zscore"),
        ChannelPlan(name="CT", normalisation="ct", low=-100, high=300, mean=50, std=80),
    ]
    augment, reason = fit_augmentation(AugmentPlan(), channels, (20, 20, 20), 1, Budget(60, 1e6))
    assert augment.spatial_probability > AugmentPlan().spatial_probability
    assert augment.remap_probability == 0
    assert "line" not in reason


@pytest.mark.parametrize(
    ("steps", "spare_gb", "preset"), [(4999, 1.0, "small"), (5001, 0.001, "medium"), (5001, -0.001, "small")]
)
def test_the_wider_network_wants_steps_and_memory(steps, spare_gb, preset):
    small = Plan.model_construct(
        window=(16, 16, 16), training=TrainingPlan(batch_size=1), labels={"background": 0, "a": 1}, regions=()
    )
    needed_gb = training_memory(PRESETS["medium"].network, 2).taken_gb((16, 16, 16), 1)
    chosen, why = fit_preset(small, Budget(1, steps * 16**3 / 60), needed_gb + spare_gb)
    assert chosen == preset
    assert why.startswith(f"chosen by auto: in 1 minutes small would take about {steps} steps; from 5000 on it is medi")
    assert (f"takes {needed_gb:.1f} GB of memory and {needed_gb:.1f} are free" in why) == (spare_gb < 0)
