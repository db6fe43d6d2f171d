"""Sliding windows against closed forms and MONAI."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.infer.plain import sliding_window
from tests.infer.test_predict import plan

from unetr.core.plan.schema import ChannelPlan
from unetr.infer.sweep.blending import LEAST_WEIGHT, blending_weights
from unetr.infer.sweep.slabs import Route, sweep
from unetr.infer.sweep.windows import window_starts


@given(st.integers(1, 300), st.integers(1, 128), st.floats(0, 0.95))
def test_windows_cover_every_voxel_and_overlap_as_asked(length: int, window: int, overlap: float) -> None:
    starts = window_starts(length, window, overlap)
    covered = np.zeros(max(length, window), dtype=bool)
    for start in starts:
        assert 0 <= start <= max(0, length - window)
        covered[start : start + window] = True
    assert covered.all()
    assert len(set(starts)) == len(starts)
    steps = np.diff(starts)
    assert (steps <= max(1, int(window * (1 - overlap)))).all()


def test_starts_by_hand() -> None:
    assert window_starts(10, 4, 0.5) == [0, 2, 4, 6]
    assert window_starts(11, 4, 0.5) == [0, 2, 4, 6, 7]
    assert window_starts(4, 4, 0.5) == [0]
    assert window_starts(3, 4, 0.5) == [0]
    assert window_starts(5, 4, 0.0) == [0, 1]


def test_gaussian_by_hand() -> None:
    weights = blending_weights((9, 9, 9), "gaussian")
    assert weights[4, 4, 4] == 1
    sigma = 0.125 * 9
    assert weights[4, 4, 6] == pytest.approx(np.exp(-0.5 * (2 / sigma) ** 2), rel=1e-6)
    assert weights[3, 4, 6] == pytest.approx(np.exp(-0.5 * (5 / sigma**2)), rel=1e-6)
    assert weights.min() == pytest.approx(LEAST_WEIGHT)
    np.testing.assert_array_equal(weights, weights[::-1, ::-1, ::-1])
    assert (blending_weights((3, 4, 5), "constant") == 1).all()


def test_the_sweep_and_its_oracle_equal_monais() -> None:
    torch = pytest.importorskip("torch")
    inferers = pytest.importorskip("monai.inferers")
    torch.manual_seed(0)
    network = torch.nn.Conv3d(2, 3, 5, padding=2).eval()
    image = np.random.default_rng(1).normal(size=(2, 33, 21, 45)).astype(np.float32)

    def engine(windows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(windows)).numpy()

    found = sliding_window(image, engine, (16, 24, 16), 0.5, "gaussian")
    made = plan(window=(16, 24, 16), channels=[ChannelPlan(name=name, normalisation="none") for name in ("a", "b")])
    swept = np.concatenate([slab.copy() for slab in sweep(image, engine, made, Route.whole((33, 21, 45)), (0, 21))], 1)
    with torch.inference_mode():
        expected = inferers.sliding_window_inference(
            torch.from_numpy(image)[None], (16, 24, 16), 4, network, overlap=0.5, mode="gaussian"
        )[0].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(swept, expected, atol=2e-5)
