"""Hand-worked normalisations and labels, and the round trip through the network's grid."""

from __future__ import annotations

import numpy as np
import pytest

from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.space.geometry import content_box, restore
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.prepare.preprocess import NORMALISATIONS, preprocess_image, preprocess_label


def _plan(channels=1, normalisation="none", spacing_mm=(1.0, 1.0, 1.0), orientation="RAS", **changes) -> Plan:
    numbers = {"low": -100.0, "high": 300.0, "mean": 50.0, "std": 25.0}
    return Plan(
        dataset="d",
        channels=[ChannelPlan(name=f"c{i}", normalisation=normalisation, **numbers) for i in range(channels)],
        labels=changes.pop("labels", {"background": 0, "b": 7, "a": 3}),
        orientation=orientation,
        spacing_mm=spacing_mm,
        window=(16, 16, 16),
        **changes,
    )


def _volume(values, affine=None) -> Volume:
    data = np.asarray(values)
    return Volume(data.reshape((1,) * (4 - data.ndim) + data.shape), np.eye(4) if affine is None else affine)


# Input values -> what the documented formula gives, worked out by hand.
HAND = {
    "none": ([-200, 0, 100, 400], [-200, 0, 100, 400]),
    "range": ([-200, -100, 0, 100, 300, 400], [0, 0, 0.25, 0.5, 1, 1]),
    "ct": ([-200, 0, 50, 100, 400], [-6, -2, 0, 2, 10]),
    # 1, 2, 3 eighty times each: the percentiles clip nothing, the mean is 2, the deviation sqrt(2/3).
    "zscore": ([1, 2, 3] * 80, [-np.sqrt(1.5), 0, np.sqrt(1.5)] * 80),
}


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_hand_worked_normalisation(name):
    values, expected = HAND[name]
    image, _ = preprocess_image(_volume(np.array([[values]], dtype=np.int16)), _plan(normalisation=name))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0, 0, 0], expected, rtol=1e-6)


def test_zscore_clips_one_voxel_in_a_thousand():
    values = np.linspace(0, 1, 1001)
    values[500] = 1e6
    image, _ = preprocess_image(_volume(values[None, None]), _plan(normalisation="zscore"))
    assert image.max() < 2
    np.testing.assert_allclose(image.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(image.std(), 1, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.3, -1024.0, 1e9, 1e-20])
@pytest.mark.parametrize("name", NORMALISATIONS)
def test_constant_image_stays_finite(name, value):
    image, _ = preprocess_image(_volume(np.full((5, 6, 7), value, np.float32)), _plan(normalisation=name))
    assert np.isfinite(image).all()
    assert np.ptp(image) == 0
    if name == "zscore":
        assert not image.any()


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e7])
def test_zscore_does_not_depend_on_units(factor):
    values = np.random.default_rng(0).normal(5, 2, (6, 7, 8))
    plan = _plan(normalisation="zscore")
    one, _ = preprocess_image(_volume(values.astype(np.float32)), plan)
    other, _ = preprocess_image(_volume((values * factor).astype(np.float32)), plan)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_resampling_does_not_overshoot_and_keeps_the_field_of_view():
    step = np.zeros((12, 8, 8), np.float32)
    step[6:] = 1000
    image, placement = preprocess_image(_volume(step), _plan(spacing_mm=(0.5, 1.0, 2.0)))
    assert image.shape == (1, 24, 8, 4)
    assert placement.source_shape == (12, 8, 8)
    assert image.min() == 0
    assert image.max() == 1000
    # A step is odd around its middle, so the mean is exact whatever the kernel.
    np.testing.assert_allclose(image.mean(), 500, rtol=1e-5)


def test_other_number_of_channels_names_the_declared_ones():
    with pytest.raises(InputError, match=r"2 channels; expected 3 .*c0, c1, c2"):
        preprocess_image(Volume(np.zeros((2, 4, 4, 4)), np.eye(4)), _plan(channels=3))


def test_channels_are_normalised_separately():
    data = np.random.default_rng(0).normal([[[[5]]], [[[500]]]], [[[[1]]], [[[80]]]], (2, 8, 8, 8))
    image, _ = preprocess_image(Volume(data, np.eye(4)), _plan(channels=2, normalisation="zscore"))
    np.testing.assert_allclose(image.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(image.std(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_label_values_become_indices_in_the_order_of_the_values():
    label = preprocess_label(_volume(np.array([[[0, 3, 7, 9]]])), _plan(ignore_label=9))
    assert label.dtype == np.int16
    assert label.tolist() == [[[0, 1, 2, -1]]]


@pytest.mark.parametrize("value", [1, -1, 40000, 2**40])
def test_unknown_label_values_are_named(value):
    with pytest.raises(InputError, match=str(value)):
        preprocess_label(_volume(np.array([[[0, 3, value]]])), _plan())


def test_label_and_image_turn_together():
    """The label marks exactly the bright voxels, before and after, whatever the orientation."""
    rng = np.random.default_rng(1)
    label = rng.choice([0, 3, 7], (4, 5, 6))
    affine = np.array([[0, 0, -1.0, 9], [1, 0, 0, 3], [0, -1, 0, 2], [0, 0, 0, 1]])
    plan = _plan(orientation="LPS")
    image, _ = preprocess_image(_volume(label * 10.0, affine), plan)
    indices = preprocess_label(_volume(label, affine), plan)
    assert np.array_equal(np.array([0, 3, 7])[indices] * 10, image[0])


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SAR"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_round_trip_from_values_to_indices_to_values(orientation, dtype):
    values = np.random.default_rng(2).choice([0, 3, 7], (5, 6, 7)).astype(dtype)
    volume, plan = _volume(values), _plan(orientation=orientation)
    indices = preprocess_label(volume, plan)
    _, placement = preprocess_image(volume, plan)
    back = restore(np.array(plan.class_values)[indices][None], placement, "nearest")
    assert np.array_equal(back[0], values)


def test_resampled_label_matches_the_image_and_the_hand_worked_majority():
    """Halving an axis averages pairs: the larger share wins, the first class at a tie."""
    values = np.array([0, 0, 3, 3, 0, 3, 7, 7, 7, 3])[:, None, None]
    plan = _plan(spacing_mm=(2.0, 1.0, 1.0))
    indices = preprocess_label(_volume(values), plan)
    assert indices[:, 0, 0].tolist() == [0, 1, 0, 2, 1]
    image, _ = preprocess_image(_volume(values), plan)
    assert image.shape[1:] == indices.shape


def test_resampled_label_keeps_the_volume_of_every_class(shared_data):
    """41 structures of a real CT at 3 mm, resampled to 2 mm: volumes in mm3 agree, unknown voxels are not invented."""
    from unetr.io import read_label

    label = read_label(shared_data / "ct/abdomen_3mm_labels.nii.gz")
    values = [int(value) for value in np.unique(label.data)]
    plan = _plan(labels={f"label {v}": v for v in values}, spacing_mm=(2.0, 2.0, 2.0))
    indices = preprocess_label(label, plan)
    for index, value in enumerate(values):
        before = (label.data == value).sum() * 27.0
        if before > 27.0 * 500:
            assert (indices == index).sum() * 8.0 == pytest.approx(before, rel=0.08)


def test_ignored_voxels_survive_resampling():
    values = np.repeat([3, 9], 8)[:, None, None]
    indices = preprocess_label(_volume(values), _plan(ignore_label=9, spacing_mm=(0.5, 1.0, 1.0)))
    assert indices[:, 0, 0].tolist() == [1] * 16 + [-1] * 16


def _bordered(shape=(7, 9, 8), box=((2, 5), (1, 8), (3, 7))) -> np.ndarray:
    """Zeros around a box of values from 1 on."""
    data = np.zeros(shape, np.float32)
    inside = data[tuple(slice(low, high) for low, high in box)]
    inside[...] = np.arange(1, inside.size + 1).reshape(inside.shape)
    return data


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [  # the scan's axes run R, A, S; worked by hand from the box ((2, 5), (1, 8), (3, 7)) of a 7 x 9 x 8 grid
        ("RAS", ((2, 5), (1, 8), (3, 7))),
        ("LPS", ((2, 5), (1, 8), (3, 7))),
        ("LAI", ((2, 5), (1, 8), (1, 5))),
        ("SAR", ((3, 7), (1, 8), (2, 5))),
        ("IPL", ((1, 5), (1, 8), (2, 5))),
    ],
)
def test_content_box_in_the_turned_grid(orientation, expected):
    assert content_box(_volume(_bordered()), orientation) == expected


def test_content_box_holds_every_channel_and_all_of_an_empty_scan():
    two = np.zeros((2, 5, 5, 5), np.float32)
    two[0, 1, 2, 3] = 4
    two[1, 3, 2, 1] = -4
    assert content_box(_volume(two), "RAS") == ((1, 4), (2, 3), (1, 4))
    assert content_box(_volume(np.zeros((3, 4, 5))), "SRA") == ((0, 5), (0, 3), (0, 4))


@pytest.mark.parametrize("orientation", ["RAS", "LIP", "SAR"])
def test_crop_of_image_and_label_is_the_same_box_and_comes_back(orientation):
    image, plan = _bordered(), _plan(orientation=orientation, crop="content")
    label = np.where(image > 40, 3, np.where(image > 0, 7, 0)).astype(np.int16)
    cropped, placement = preprocess_image(_volume(image), plan)
    indices = preprocess_label(_volume(label), plan, placement.crop)
    assert cropped.shape[1:] == indices.shape
    assert sorted(indices.shape) == [3, 4, 7]
    np.testing.assert_array_equal(indices, np.where(cropped[0] > 40, 1, np.where(cropped[0] > 0, 2, 0)))
    np.testing.assert_array_equal(restore(cropped, placement, "linear")[0], image)
    kept, _ = preprocess_image(_volume(image), _plan(orientation=orientation))
    assert sorted(kept.shape[1:]) == [7, 8, 9]


def test_crop_then_resample_keeps_the_clipping_range():
    image, placement = preprocess_image(_volume(_bordered()), _plan(spacing_mm=(0.5,) * 3, crop="content"))
    assert image.shape == (1, 6, 14, 8) == (1, *placement.shape)
    assert image.min() >= 1
    assert image.max() <= 84
