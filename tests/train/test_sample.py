"""Samples are pure functions of (seed, step, slot), and windows hold what they claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from unetr.core.plan.schema import AugmentPlan, Plan, TrainingPlan
from unetr.prepare.cache import Cache, CachedCase
from unetr.train.samples.sample import Batch, batches, make_batch, make_sample, sample_case

PlanWith = Callable[..., Plan]

NO_CHANGE = AugmentPlan(
    spatial_probability=0,
    noise_probability=0,
    blur_probability=0,
    brightness_probability=0,
    contrast_probability=0,
    gamma_probability=0,
    low_resolution_probability=0,
)


def same(first: Batch, second: Batch) -> bool:
    return (
        first.step == second.step
        and first.cases == second.cases
        and first.images.tobytes() == second.images.tobytes()
        and first.classes.tobytes() == second.classes.tobytes()
    )


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (1, 4), (3, 5)])
def test_any_number_of_workers_gives_the_same_batches(
    cache: Cache, plan_with: PlanWith, workers: int, ahead: int
) -> None:
    plan = plan_with()
    stream = batches(cache, cache.ids, plan, seed=7, first_step=3, workers=workers, ahead=ahead)
    for step, batch in enumerate(islice(stream, 6), start=3):
        assert same(batch, make_batch(cache, cache.ids, plan, seed=7, step=step))


def test_another_seed_step_or_slot_gives_another_sample(cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    first = make_batch(cache, cache.ids, plan, seed=0, step=0)
    assert not same(first, make_batch(cache, cache.ids, plan, seed=1, step=0))
    assert first.images.tobytes() != make_batch(cache, cache.ids, plan, seed=0, step=1).images.tobytes()
    assert first.images[0].tobytes() != first.images[1].tobytes()


def test_every_case_comes_once_in_each_round() -> None:
    ids = [f"case{i}" for i in range(7)]
    drawn = [sample_case(ids, seed=3, index=i) for i in range(35)]
    assert all(Counter(drawn[i : i + 7]) == Counter(ids) for i in range(0, 35, 7))
    assert drawn[:7] != drawn[7:14]


@pytest.mark.parametrize("case", ["small", "mixed", "large"])
def test_an_unchanged_window_is_a_part_of_the_volume_padded_with_zeros(
    cache: Cache, plan_with: PlanWith, case: str
) -> None:
    """The oracle: pad the whole volume by a window on each side, and look for the window's voxels there."""
    plan = plan_with(training=TrainingPlan(augment=NO_CHANGE))
    opened = cache.open(case)
    padded = np.pad(opened.image[0], 16)
    for step in range(20):
        image, classes = make_sample(opened, plan, np.random.default_rng([1, step]))
        value = image[0][image[0] != 0][0]
        (place,) = np.argwhere(padded == value)
        start = place - np.argwhere(image[0] == value)[0]
        cut = tuple(slice(s, s + 16) for s in start)
        np.testing.assert_array_equal(image[0], padded[cut])
        np.testing.assert_array_equal(classes, np.pad(opened.label, 16)[cut])
        fits = np.array(opened.label.shape) >= 16
        inside = (start >= 16) & (start <= np.array(opened.label.shape))
        assert inside[fits].all()


def test_foreground_windows_hold_each_class_equally_often(cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with(training=TrainingPlan(augment=NO_CHANGE, foreground_fraction=1.0))
    opened = cache.open("large")
    holding = [make_sample(opened, plan, np.random.default_rng([2, i]))[1] for i in range(60)]
    assert all((classes > 0).any() for classes in holding)
    only_shell = CachedCase(opened.image, opened.label, {2: opened.foreground[2]})
    assert all((make_sample(only_shell, plan, np.random.default_rng([3, i]))[1] == 2).any() for i in range(30))


def test_uniform_windows_reach_every_corner(cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with(training=TrainingPlan(augment=NO_CHANGE, foreground_fraction=0.0), window=(8, 8, 8))
    opened = cache.open("large")
    seen = np.zeros(opened.label.shape, dtype=bool)
    flat = {value: index for index, value in enumerate(opened.image.ravel())}
    for i in range(400):
        image, _ = make_sample(opened, plan, np.random.default_rng([4, i]))
        seen[np.unravel_index(flat[image[0, 0, 0, 0]], seen.shape)] = True
    starts = np.argwhere(seen)
    assert (starts.min(axis=0) <= 2).all()
    assert (starts.max(axis=0) >= np.array(seen.shape) - 8 - 2).all()
    assert (starts.max(axis=0) <= np.array(seen.shape) - 8).all()


def test_mirrors_flip_image_and_label_together_and_only_along_the_allowed_axes(
    cache: Cache, plan_with: PlanWith
) -> None:
    opened = cache.open("small")
    window = opened.label.shape
    plain = plan_with(training=TrainingPlan(augment=NO_CHANGE), window=window)
    mirrored = plan_with(
        training=TrainingPlan(augment=NO_CHANGE.model_copy(update={"mirror_axes": (1,)})), window=window
    )
    image, classes = make_sample(opened, plain, np.random.default_rng(0))
    flips = 0
    for i in range(20):
        changed, labels = make_sample(opened, mirrored, np.random.default_rng([5, i]))
        flipped = not np.array_equal(changed, image)
        flips += flipped
        np.testing.assert_array_equal(changed, np.flip(image, 2) if flipped else image)
        np.testing.assert_array_equal(labels, np.flip(classes, 1) if flipped else classes)
    assert 3 <= flips <= 17
