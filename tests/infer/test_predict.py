"""Image in, label out, on the same grid and affine: with a network that is known, so that every voxel is known."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr.core.plan.schema import ChannelPlan, InferencePlan, Plan, Region
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.infer.predict import Segmenter, predict_scores
from unetr.infer.sweep.combine import combined, mirror_views
from unetr.infer.sweep.scores import decide, label_values, outside_scores
from unetr.io import read_label, write_volume

ORIENTATIONS = [
    "".join(pair[i] for pair, i in zip(axes, signs, strict=True))
    for axes in permutations(("RL", "AP", "SI"))
    for signs in product((0, 1), repeat=3)
]
DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def plan(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "dataset": "thresholds",
        "channels": (ChannelPlan(name="CT", normalisation="none"),),
        "labels": {"background": 0, "soft": 3, "hard": 7},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (8, 8, 8),
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def thresholds(windows: np.ndarray) -> np.ndarray:
    """Class 1 from 1, class 2 from 2, clear enough that blending cannot change it."""
    return np.concatenate([np.zeros_like(windows), 20 * windows - 20, 40 * windows - 60], axis=1)


def expected(image: np.ndarray) -> np.ndarray:
    return np.where(image > 2, 7, np.where(image > 1, 3, 0))


def affine_of(orientation: str, spacing_mm: tuple[float, ...]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array([DIRECTIONS[letter] for letter in orientation]).T * spacing_mm
    affine[:3, 3] = (-31, 17, 5)
    return affine


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Values away from the thresholds at 1 and 2."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 3, size=(1, *shape)) + 0.5).astype(np.float32)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_comes_back_voxel_by_voxel(orientation: str) -> None:
    assert len(set(ORIENTATIONS)) == 48
    spacing = {"R": 1.0, "L": 1.0, "A": 2.5, "P": 2.5, "S": 0.5, "I": 0.5}
    scan = Volume(noise((9, 11, 7)), affine_of(orientation, tuple(spacing[letter] for letter in orientation)))
    found = Segmenter(plan(spacing_mm=(1.0, 2.5, 0.5)), thresholds).predict(scan)
    np.testing.assert_array_equal(found.labels.data[0], expected(scan.data[0]))
    np.testing.assert_array_equal(found.labels.affine, scan.affine)


@given(
    st.sampled_from(ORIENTATIONS),
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.floats(0.4, 4.0)] * 3),
    st.tuples(*[st.integers(3, 14)] * 3),
)
@settings(max_examples=40, deadline=None)
def test_any_spacing_gives_the_scans_grid_and_a_close_label(
    scan_orientation: str, plan_orientation: str, spacing: tuple[float, ...], shape: tuple[int, ...]
) -> None:
    """A ramp along one world axis: after resampling there and back its threshold moves by less than a voxel or so."""
    affine = affine_of(scan_orientation, spacing)
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)])
    ramp = np.tensordot(affine, index, 1)[0]
    step = max(np.abs(affine[0, :3]).max(), 1.0)
    ramp = ((ramp - np.median(ramp)) / step).astype(np.float32)
    scan = Volume(ramp[None], affine)
    found = Segmenter(plan(orientation=plan_orientation), thresholds).predict(scan)
    assert found.labels.data.shape == (1, *shape)
    np.testing.assert_array_equal(found.labels.affine, affine)
    clear = (np.abs(ramp - 1) > 1) & (np.abs(ramp - 2) > 1)
    np.testing.assert_array_equal(found.labels.data[0][clear], expected(ramp)[clear])


def test_volumes_by_hand() -> None:
    image = np.full((1, 10, 10, 10), 0.5, dtype=np.float32)
    image[0, :2] = 1.5
    image[0, 5, :3, :3] = 2.5
    scan = Volume(image, affine_of("LPS", (2.0, 2.0, 2.5)))
    found = Segmenter(plan(spacing_mm=(2.0, 2.0, 2.5)), thresholds).predict(scan)
    assert found.volumes_ml == pytest.approx({"soft": 200 * 0.01, "hard": 9 * 0.01})
    assert found.labels.label_names == {3: "soft", 7: "hard"}


def test_probabilities_are_a_softmax_and_their_largest_is_the_label() -> None:
    scan = Volume(noise((9, 5, 12)), affine_of("PIR", (1.3, 0.8, 2.0)))
    found = Segmenter(plan(), thresholds).predict(scan, probabilities=True)
    assert found.probabilities is not None
    scores = found.probabilities.data
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 3, 7])[scores.argmax(axis=0)], found.labels.data[0])
    np.testing.assert_array_equal(found.probabilities.affine, scan.affine)


def test_volumes_go_by_name_when_a_plan_lists_labels_in_another_order_than_their_values() -> None:
    scan = Volume(noise((8, 8, 8)), np.eye(4))
    found = Segmenter(plan(labels={"background": 0, "hard": 7, "soft": 3}), thresholds).predict(scan)
    labels = found.labels.data[0]
    assert found.labels.label_names == {3: "soft", 7: "hard"}
    assert found.volumes_ml["soft"] == pytest.approx(np.count_nonzero(labels == 3) / 1000)
    assert found.volumes_ml["hard"] == pytest.approx(np.count_nonzero(labels == 7) / 1000)


def test_regions_overlap_and_later_ones_are_written_over_earlier_ones() -> None:
    regions = (Region(name="any", labels=(3, 7), written_as=1), Region(name="hard", labels=(7,), written_as=2))
    made = plan(regions=regions)

    def engine(windows: np.ndarray) -> np.ndarray:
        return np.concatenate([20 * windows - 20, 20 * windows - 40], axis=1)

    scan = Volume(noise((8, 8, 8)), np.eye(4))
    found = Segmenter(made, engine).predict(scan)
    assert made.written_values == {"any": 1, "hard": 2}
    np.testing.assert_array_equal(found.labels.data[0], np.where(scan.data[0] > 2, 2, np.where(scan.data[0] > 1, 1, 0)))
    any_ml, hard_ml = found.volumes_ml["any"], found.volumes_ml["hard"]
    assert any_ml == pytest.approx(np.count_nonzero(scan.data > 1) / 1000)
    assert hard_ml == pytest.approx(np.count_nonzero(scan.data > 2) / 1000)


def test_mirror_views_by_hand() -> None:
    assert mirror_views(()) == [()]
    assert mirror_views((0, 2)) == [(), (0,), (2,), (0, 2)]
    assert len(mirror_views((0, 1, 2))) == 8


def test_tta_is_the_mean_over_the_mirrors_of_the_plan() -> None:
    """A network that adds a ramp along the first axis: its mirror image is the other ramp."""
    made = plan(inference=InferencePlan(mirror_axes=(0,)), labels={"background": 0, "one": 1})
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype(np.float32)
    ramp = np.linspace(-1, 1, 8, dtype=np.float32)[:, None, None]

    def engine(windows: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(windows), windows + ramp], axis=1)

    plain = predict_scores(image, made, engine)
    averaged = predict_scores(image, made, combined([engine], mirror_views((0,)), regions=False))

    def logistic(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    np.testing.assert_allclose(plain[1], logistic(image[0] + ramp), atol=1e-5)
    np.testing.assert_allclose(averaged[1], (logistic(image[0] + ramp) + logistic(image[0] - ramp)) / 2, atol=1e-5)


def test_decide_keeps_values_above_a_byte() -> None:
    made = plan(labels={"background": 0, "one": 1, "far": 300})
    scores = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    labels = label_values(decide(scores, made), made)
    assert labels.ravel().tolist() == [0, 1, 300]


def test_channels_are_checked_against_the_plan(tmp_path: Path) -> None:
    segmenter = Segmenter(plan(), thresholds)
    path = tmp_path / "two.nii.gz"
    write_volume(path, Volume(np.repeat(noise((6, 6, 6)), 2, axis=0), np.eye(4)))
    with pytest.raises(InputError, match=r"two\.nii\.gz: has 2 channels; the model expects 1 \(CT\)"):
        segmenter.predict(path)


def test_a_saved_prediction_reads_back(tmp_path: Path) -> None:
    scan = Volume(noise((6, 7, 8)), affine_of("LIP", (1.0, 1.0, 1.0)), qform_code=1, sform_code=0)
    found = Segmenter(plan(), thresholds).predict(scan)
    back = read_label(found.save(tmp_path / "out" / "label.nii.gz"))
    np.testing.assert_array_equal(back.data, found.labels.data)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-6)
    assert back.label_names == {3: "soft", 7: "hard"}
    assert back.data.dtype == np.uint8


@pytest.mark.parametrize("orientation", ["RAS", "IPL"])
def test_what_the_crop_leaves_out_is_background_for_sure(orientation: str) -> None:
    """The network would call zeros `hard`; only the box with content may be shown to it."""
    data = np.zeros((1, 12, 9, 10), np.float32)
    data[0, 2:8, 3:9, 1:6] = noise((6, 6, 5))[0]

    def wrong_on_zeros(windows: np.ndarray) -> np.ndarray:
        return np.where(windows == 0, thresholds(np.full_like(windows, 3)), thresholds(windows))

    scan = Volume(data, affine_of(orientation, (1.0, 1.0, 1.0)))
    found = Segmenter(plan(crop="content"), wrong_on_zeros).predict(scan, probabilities=True)
    np.testing.assert_array_equal(found.labels.data[0], expected(data[0]))
    assert found.probabilities is not None
    np.testing.assert_array_equal(found.probabilities.data[:, 0, 0, 0], [1, 0, 0])


def test_outside_the_crop_no_region_holds() -> None:
    regions = (Region(name="all", labels=(3, 7), written_as=3), Region(name="hard", labels=(7,), written_as=7))
    assert outside_scores(plan(regions=regions)) == [0, 0]
    assert outside_scores(plan()) == [1, 0, 0]
