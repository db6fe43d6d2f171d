"""The streaming prediction gives what the plain one, with everything in memory, gives: any route, grid and option."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infer.plain import mean_of_views, plain_prediction, sliding_window
from tests.infer.test_predict import DIRECTIONS, ORIENTATIONS

from unetr.core.plan.schema import ChannelPlan, InferencePlan, Plan, PostprocessPlan, Region
from unetr.core.space.volume import Volume
from unetr.infer.options import PredictOptions
from unetr.infer.predict import Prediction, Segmenter, predict_scores
from unetr.infer.sweep.combine import mirror_views
from unetr.infer.sweep.slabs import Route, sweep
from unetr.infer.sweep.uncertainty import entropy
from unetr.prepare.preprocess import preprocess_image

REGIONS = (Region(name="all", labels=(1, 2, 3), written_as=9), Region(name="core", labels=(2, 3), written_as=4))


def plan(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "dataset": "waves",
        "channels": (ChannelPlan(name="T1", normalisation="none"),),
        "labels": {"background": 0, "one": 1, "two": 2, "three": 300},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (8, 6, 10),
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def waves(outputs: int, seed: int = 0):
    """A network whose scores depend on the neighbours of a voxel and on where in the window it is."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(outputs, 4)).astype(np.float32)

    def engine(windows: np.ndarray) -> np.ndarray:
        x = windows[:, :1]
        ramps = np.sum(np.meshgrid(*[np.linspace(-1, 1, n) for n in x.shape[2:]], indexing="ij"), axis=0)
        terms = [x, np.roll(x, 1, 2), np.roll(x, -1, 4), np.broadcast_to(ramps, x.shape)]
        return np.einsum("jk,kbhwd->bjhwd", 0.3 * mixing, np.concatenate(terms, axis=1).swapaxes(0, 1)).astype(
            np.float32
        )

    return engine


def scan_of(shape: tuple[int, ...], orientation: str, spacing_mm: tuple[float, ...], seed: int = 0) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.array([DIRECTIONS[letter] for letter in orientation]).T * spacing_mm
    data = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    # Smooth enough to have insides as well as surfaces.
    for axis in (1, 2, 3):
        data = data + np.roll(data, 1, axis) + np.roll(data, 2, axis)
    return Volume(data, affine)


def assert_same(found: Prediction, scores: np.ndarray, labels: np.ndarray, made: Plan) -> None:
    ordered = np.sort(scores, axis=0)
    margin = np.abs(scores - 0.5).min(axis=0) if made.regions else ordered[-1] - ordered[-2]
    clear = margin > 1e-6
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found.labels.data[0][clear], labels[clear])
    if found.probabilities is not None:
        np.testing.assert_allclose(found.probabilities.data, scores, atol=1e-5)


SIZES = st.tuples(*[st.integers(4, 26)] * 3)


@given(
    st.sampled_from(ORIENTATIONS),
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.floats(0.4, 2.5)] * 3),
    SIZES,
    st.sampled_from([0.0, 0.25, 0.5, 0.7]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(permutations(range(3)))),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_streaming_equals_plain(
    scan_orientation: str,
    plan_orientation: str,
    spacing_mm: tuple[float, ...],
    shape: tuple[int, ...],
    overlap: float,
    regions: bool,
    dense: bool,
    axes: tuple[int, int, int],
    pieces: int,
    slab_rows: int,
    seed: int,
) -> None:
    made = plan(
        orientation=plan_orientation,
        inference=InferencePlan(overlap=overlap),
        crop="content" if seed % 2 else "none",
        **({"regions": REGIONS, "labels": {"background": 0, "a": 1, "b": 2, "c": 3}} if regions else {}),
    )
    scan = scan_of(shape, scan_orientation, spacing_mm, seed)
    if seed % 2:
        scan.data[:, :1] = 0
        scan.data[..., -1:] = 0
    segmenter = Segmenter(made, waves(made.outputs, seed))
    prepared = segmenter.prepare(scan, PredictOptions())
    columns = prepared.placement.shape[axes[1]]
    edges = sorted({round(i * columns / pieces) for i in range(pieces + 1)})
    route = Route(axes, tuple(pairwise(edges)), slab_rows)
    wanted = PredictOptions(probabilities=dense, uncertainty=dense)
    found = segmenter.segment(prepared, wanted, route)
    image, placement = preprocess_image(scan, made)
    scores, labels = plain_prediction(image, placement, made, segmenter.engine)
    assert_same(found, scores, labels, made)
    if found.uncertainty is not None:
        np.testing.assert_allclose(found.uncertainty.data[0], entropy(scores, regions=regions), atol=1e-4)
    for name, value in made.written_values.items():
        if not made.regions:
            assert found.volumes_ml[name] == pytest.approx(np.sum(found.labels.data == value) * scan.voxel_ml)


@pytest.mark.parametrize("regions", [False, True])
def test_tta_is_the_mean_over_all_mirrors_of_the_plan(regions: bool) -> None:
    made = plan(
        inference=InferencePlan(mirror_axes=(0, 2)),
        **({"regions": REGIONS, "labels": {"background": 0, "a": 1, "b": 2, "c": 3}} if regions else {}),
    )
    scan = scan_of((13, 9, 17), "LPS", (1.0, 1.2, 0.7))
    engine = waves(made.outputs)
    found = Segmenter(made, engine).predict(scan, tta=True, probabilities=True)
    image, placement = preprocess_image(scan, made)
    mean = mean_of_views(engine, mirror_views((0, 2)), made)
    assert_same(found, *plain_prediction(image, placement, made, mean), made)
    plain = Segmenter(made, engine).predict(scan, probabilities=True)
    assert plain.probabilities is not None and found.probabilities is not None
    assert np.abs(plain.probabilities.data - found.probabilities.data).max() > 0.01


def test_a_fine_scan_of_large_blobs_takes_the_shortcut_and_is_the_same() -> None:
    """Mostly cells whose corners agree: labels without probabilities, where only surfaces are interpolated."""
    made = plan(spacing_mm=(3.0, 3.0, 3.0), window=(16, 16, 16))
    x, y, z = np.meshgrid(*[np.arange(n) for n in (60, 66, 54)], indexing="ij")
    data = (3 * np.sin(x / 14) * np.cos(y / 17) * np.sin(z / 11)).astype(np.float32)[None]
    scan = Volume(data, np.diag([1.0, 1.0, 1.0, 1.0]))

    def engine(windows: np.ndarray) -> np.ndarray:
        return np.concatenate([0 * windows, 2 * windows, -2 * windows, windows**2 - 2], axis=1)

    found = Segmenter(made, engine).predict(scan)
    image, placement = preprocess_image(scan, made)
    scores, labels = plain_prediction(image, placement, made, engine)
    assert_same(found, scores, labels, made)
    assert len(np.unique(labels)) > 2


@given(
    SIZES,
    st.sampled_from(["gaussian", "constant"]),
    st.sampled_from([0.0, 0.5, 0.7]),
    st.sampled_from(list(permutations(range(3)))),
)
@settings(max_examples=25, deadline=None)
def test_the_sweep_is_the_weighted_mean(
    shape: tuple[int, int, int], blending: str, overlap: float, axes: tuple[int, int, int]
) -> None:
    made = plan(inference=InferencePlan(overlap=overlap, blending=blending))
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    engine = waves(4)
    expected = sliding_window(image, engine, made.window, overlap, blending)
    route = Route(axes, ((0, shape[axes[1]]),), 3)
    slabs = [slab.copy() for slab in sweep(image, engine, made, route, (0, shape[axes[1]]))]
    assert max(slab.shape[1] for slab in slabs) <= 3
    found = np.concatenate(slabs, axis=1).transpose(0, *(1 + axes.index(axis) for axis in range(3)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


def test_confidence_is_the_mean_probability_of_what_was_decided_on_the_networks_grid() -> None:
    made = plan()
    image = np.random.default_rng(3).normal(size=(1, 12, 15, 11)).astype(np.float32)
    scan = Volume(image, np.eye(4))
    segmenter = Segmenter(made, waves(4))
    scores = predict_scores(image, made, segmenter.engine)
    winners = scores.argmax(axis=0)
    for route in (Route((2, 1, 0), ((0, 4), (4, 15)), 2), Route.whole((12, 15, 11))):
        found = segmenter.segment(segmenter.prepare(scan, PredictOptions()), PredictOptions(), route)
        expected = {name: scores[k][winners == k].mean() for k, name in enumerate(made.class_names) if k}
        assert found.confidence == pytest.approx(expected, abs=1e-5)


def test_rules_apply_to_the_labels_and_to_the_volumes() -> None:
    data = np.full((1, 20, 20, 20), -1, np.float32)
    data[0, 2:9, 2:9, 2:9] = 1
    data[0, 15:18, 15:18, 15:18] = 1
    made = plan(labels={"background": 0, "one": 1}, window=(20, 20, 20))

    def engine(windows: np.ndarray) -> np.ndarray:
        return np.concatenate([-windows, windows], axis=1)

    scan = Volume(data, np.diag([2.0, 1.0, 1.0, 1.0]))
    made = made.model_copy(update={"spacing_mm": (2.0, 1.0, 1.0)})
    assert Segmenter(made, engine).predict(scan).volumes_ml["one"] == pytest.approx((343 + 27) * 0.002)
    ruled = made.model_copy(update={"postprocess": {"one": PostprocessPlan(largest_component=True)}})
    found = Segmenter(ruled, engine).predict(scan)
    assert found.volumes_ml["one"] == pytest.approx(343 * 0.002)
    assert found.labels.data.sum() == 343


def test_a_prediction_from_an_array_is_that_of_the_volume() -> None:
    made = plan()
    scan = scan_of((9, 10, 11), "LPS", (1.0, 1.0, 2.0))
    segmenter = Segmenter(made, waves(4))
    expected = segmenter.predict(scan)
    for data in (scan.data, scan.data[0]):
        found = segmenter.predict(data, scan.affine)
        np.testing.assert_array_equal(found.labels.data, expected.labels.data)
    found = segmenter.predict(scan.data[0].tolist(), scan.affine.tolist())
    np.testing.assert_array_equal(found.labels.data, expected.labels.data)
    assert found.labels.affine.tolist() == scan.affine.tolist()


def test_an_integer_scan_predicts_like_its_floats() -> None:
    made = plan(spacing_mm=(1.3, 0.9, 1.1))
    scan = scan_of((15, 10, 14), "RAS", (1.0, 1.0, 2.0))
    whole = replace(scan, data=np.rint(scan.data * 10).astype(np.int16))
    segmenter = Segmenter(made, waves(4))
    same = segmenter.predict(replace(whole, data=whole.data.astype(np.float32)))
    np.testing.assert_array_equal(segmenter.predict(whole).labels.data, same.labels.data)
