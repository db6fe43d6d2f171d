"""Augmentations against closed forms and properties that hold for any draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unetr.core.plan.schema import AugmentPlan
from unetr.train.samples.augment import (
    INTENSITY_AUGMENTATIONS,
    SpatialMap,
    augment_intensities,
    change_brightness,
    change_contrast,
    change_gamma,
    random_map,
    read_through,
    remap,
    rescale,
    shift,
    turn,
)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 12, 10, 8)).astype(np.float32)


@pytest.mark.parametrize("name", INTENSITY_AUGMENTATIONS)
def test_each_keeps_shape_and_stays_finite_and_is_repeatable(name: str, image: np.ndarray) -> None:
    before = image.copy()
    change = INTENSITY_AUGMENTATIONS[name]
    first, second = (change(image, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == image.shape
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before)
    assert not np.array_equal(first, image)


@pytest.mark.parametrize("name", INTENSITY_AUGMENTATIONS)
def test_a_constant_image_never_becomes_nan(name: str) -> None:
    flat = np.zeros((1, 6, 6, 6), dtype=np.float32)
    assert np.isfinite(INTENSITY_AUGMENTATIONS[name](flat, np.random.default_rng(1))).all()


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_gamma_keeps_the_range_and_the_order_of_grey_values(seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(1, 5, 5, 5)).astype(np.float32)
    changed = change_gamma(image, np.random.default_rng(seed))
    assert changed.min() == pytest.approx(image.min(), abs=1e-4)
    assert changed.max() == pytest.approx(image.max(), abs=1e-4)
    order = np.argsort(image.ravel())
    assert (np.diff(changed.ravel()[order]) >= -1e-5).all()


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_remapping_is_a_line_of_grey_values_with_the_same_mean_and_deviation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = (3 + 2 * rng.integers(-3, 4, size=(2, 6, 5, 4))).astype(np.float32)
    changed = remap(image, np.random.default_rng(seed))
    for before, after in zip(image, changed, strict=True):
        assert after.mean() == pytest.approx(before.mean(), abs=1e-4)
        assert after.std() == pytest.approx(before.std(), rel=1e-4)
        for value in np.unique(before):
            assert np.ptp(after[before == value]) == 0


def test_remapping_can_make_the_brighter_tissue_the_darker_one() -> None:
    image = np.repeat(np.array([-1, 0, 1], np.float32), 64).reshape(1, 3, 8, 8)
    orders = {tuple(np.argsort(remap(image, np.random.default_rng(seed))[0, :, 0, 0])) for seed in range(60)}
    assert len(orders) == 6  # three tissues in every order


def test_brightness_is_one_factor_per_channel(image: np.ndarray) -> None:
    ratio = change_brightness(image, np.random.default_rng(2)) / image
    assert np.allclose(ratio, ratio[:, :1, :1, :1], rtol=1e-4)
    assert (ratio >= 0.749).all()
    assert (ratio <= 1.251).all()


def test_contrast_stays_within_the_channels_range(image: np.ndarray) -> None:
    for seed in range(10):
        changed = change_contrast(image, np.random.default_rng(seed))
        assert (changed.min(axis=(1, 2, 3)) >= image.min(axis=(1, 2, 3))).all()
        assert (changed.max(axis=(1, 2, 3)) <= image.max(axis=(1, 2, 3))).all()


def test_probability_zero_changes_nothing_and_one_applies_all(image: np.ndarray) -> None:
    off = AugmentPlan(**dict.fromkeys(INTENSITY_AUGMENTATIONS, 0.0))
    on = AugmentPlan(**dict.fromkeys(INTENSITY_AUGMENTATIONS, 1.0))
    np.testing.assert_array_equal(augment_intensities(image, off, np.random.default_rng(0)), image)
    assert not np.allclose(augment_intensities(image, on, np.random.default_rng(0)), image)


def test_a_rotation_is_rigid_in_millimetres() -> None:
    plan = AugmentPlan(rotate_degrees=30, scale=0.0, spatial_probability=1.0)
    spacing = (0.7, 0.7, 5.0)
    map_ = random_map(plan, spacing, (8, 8, 8), np.random.default_rng(3))
    assert map_ is not None and map_.displacement is None
    in_mm = np.diag(spacing) @ map_.matrix @ np.linalg.inv(np.diag(spacing))
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(in_mm) == pytest.approx(1.0)
    assert not np.allclose(in_mm, np.eye(3))


def test_without_rotation_and_scale_the_map_is_the_identity() -> None:
    plan = AugmentPlan(rotate_degrees=0, scale=0.0, spatial_probability=1.0)
    map_ = random_map(plan, (1, 2, 3), (8, 8, 8), np.random.default_rng(0))
    assert map_ is not None
    np.testing.assert_allclose(map_.matrix, np.eye(3), atol=1e-15)


def test_reading_through_equals_scipy_on_the_whole_volume() -> None:
    """Cropping to the part that the window reaches must not change a voxel."""
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, 30, 26, 28)).astype(np.float32)
    label = rng.integers(0, 3, size=(30, 26, 28)).astype(np.int8)
    plan = AugmentPlan(rotate_degrees=40, scale=0.3, spatial_probability=1.0)
    for seed in range(5):
        map_ = random_map(plan, (1, 1, 1), (12, 10, 14), np.random.default_rng(seed))
        assert map_ is not None
        matrix = map_.matrix
        centre = np.random.default_rng(seed).uniform(0, 28, size=3)
        found, classes = read_through(image, label, map_, centre, (12, 10, 14))
        offset = centre - matrix @ np.array([5.5, 4.5, 6.5])
        kwargs = {"matrix": matrix, "offset": offset, "output_shape": (12, 10, 14), "mode": "grid-constant"}
        np.testing.assert_allclose(found[0], ndimage.affine_transform(image[0], order=1, **kwargs), atol=1e-5)
        np.testing.assert_array_equal(classes, ndimage.affine_transform(label, order=0, **kwargs))


def test_reading_through_a_shift_by_whole_voxels_is_a_cut() -> None:
    image = np.arange(20**3, dtype=np.float32).reshape(1, 20, 20, 20)
    label = (image[0] % 3).astype(np.int8)
    found, classes = read_through(image, label, SpatialMap(np.eye(3)), np.array([8.5, 9.5, 10.5]), (4, 4, 4))
    np.testing.assert_allclose(found, image[:, 7:11, 8:12, 9:13])
    np.testing.assert_array_equal(classes, label[7:11, 8:12, 9:13])


def test_a_bending_reads_the_whole_volume_where_it_says(image: np.ndarray) -> None:
    """Against scipy on the uncropped volume, rotation and bending together."""
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, 30, 26, 28)).astype(np.float32)
    label = rng.integers(0, 3, size=(30, 26, 28)).astype(np.int8)
    plan = AugmentPlan(rotate_degrees=40, scale=0.3, spatial_probability=1.0, elastic_probability=1.0)
    window = (12, 10, 14)
    for seed in range(5):
        map_ = random_map(plan, (1, 1, 2), window, np.random.default_rng(seed))
        assert map_ is not None and map_.displacement is not None
        centre = np.random.default_rng(seed).uniform(0, 28, size=3)
        found, classes = read_through(image, label, map_, centre, window)
        relative = np.indices(window) - np.array([5.5, 4.5, 6.5]).reshape(3, 1, 1, 1)
        places = np.einsum("ij,j...->i...", map_.matrix, relative) + centre.reshape(3, 1, 1, 1) + map_.displacement
        expected = ndimage.map_coordinates(image[0], places, order=1, mode="grid-constant")
        np.testing.assert_allclose(found[0], expected, atol=1e-4)
        agree = classes == ndimage.map_coordinates(label, places, order=0, mode="grid-constant")
        assert agree.mean() > 0.999, "but for ties by rounding"


def test_a_bending_is_smooth_of_the_asked_size_and_does_not_fold() -> None:
    plan = AugmentPlan(spatial_probability=0.0, elastic_probability=1.0, elastic_strength=0.15)
    window, spacing = (40, 40, 20), (1.0, 1.0, 2.0)
    knot_mm = 40 / 5
    sizes, folded = [], 0
    for seed in range(40):
        map_ = random_map(plan, spacing, window, np.random.default_rng(seed))
        assert map_ is not None and map_.displacement is not None
        np.testing.assert_array_equal(map_.matrix, np.eye(3))
        in_mm = map_.displacement * np.array(spacing).reshape(3, 1, 1, 1)
        sizes.append(in_mm.std())
        jacobian = np.stack([np.gradient(map_.displacement[i], axis=(0, 1, 2)) for i in range(3)])
        determinant = np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)) + np.eye(3))
        folded += int((determinant <= 0).any())
    assert max(sizes) <= 0.15 * knot_mm * 1.2
    assert np.mean(sizes) > 0.02 * knot_mm
    assert folded <= 2


def test_neither_turned_nor_bent_is_none() -> None:
    plan = AugmentPlan(spatial_probability=0.0, elastic_probability=0.0)
    assert random_map(plan, (1, 1, 1), (8, 8, 8), np.random.default_rng(0)) is None


def test_scale_and_shift_stay_within_a_tenth(image: np.ndarray) -> None:
    """As the published code of the paper: v (1 + f) and v + f with f from -0.1 to 0.1, one number for all channels."""
    drawn = np.random.default_rng(3)
    factors = [rescale(image, drawn) / image for _ in range(200)]
    offsets = [shift(image, drawn) - image for _ in range(200)]
    for changes, low, high in ((factors, 0.9, 1.1), (offsets, -0.1, 0.1)):
        for change in changes:
            assert np.ptp(change) < 1e-5
        means = np.array([change.mean() for change in changes])
        assert means.min() >= low - 1e-6 and means.max() <= high + 1e-6
        assert means.min() < low + 0.01 and means.max() > high - 0.01


def test_turns_are_quarter_turns_of_image_and_classes_alike() -> None:
    """Each of 90, 180 and 270 degrees about the third axis, against indices turned by hand."""
    h, d = 5, 3
    image = np.arange(2 * h * h * d, dtype=np.float32).reshape(2, h, h, d)
    classes = np.arange(h * h * d).reshape(h, h, d)
    x, y = np.indices((h, h))
    last = h - 1
    by_hand = {90: (y, last - x), 180: (last - x, last - y), 270: (last - y, x)}
    seen = []
    rng = np.random.default_rng(0)
    for _ in range(60):
        turned, labels = turn(image, classes, 1.0, rng)
        fits = [angle for angle, (i, j) in by_hand.items() if np.array_equal(labels, classes[i, j])]
        assert len(fits) == 1
        np.testing.assert_array_equal(turned, image[:, *by_hand[fits[0]]])
        seen += fits
    assert all(seen.count(angle) > 8 for angle in by_hand)


def test_no_turn_draws_nothing() -> None:
    """So plans without turns have the very samples that they had before there were turns."""
    image, classes = np.ones((1, 4, 4, 4), np.float32), np.ones((4, 4, 4), np.int64)
    rng = np.random.default_rng(5)
    assert turn(image, classes, 0.0, rng)[0] is image
    assert rng.random() == np.random.default_rng(5).random()
