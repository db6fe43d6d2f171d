"""The memory estimate, the limit, and that pieces change nothing."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infer.test_streaming import plan, scan_of, waves

from unetr.core.machine.memory import resident_bytes
from unetr.errors import InputError
from unetr.infer.options import PredictOptions
from unetr.infer.predict import Prepared, Segmenter
from unetr.infer.route import Demand, choose_route, parse_memory, result_bytes
from unetr.infer.sweep.slabs import Route


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4GB", 4 * 10**9), ("800MB", 8 * 10**8), ("2.5 gb", 25 * 10**8), (" 1TB ", 10**12)],
)
def test_sizes_by_hand(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "4", "GB", "-1GB", "nanGB", "infGB", "4 gigabytes", "0MB", "4GB;ls"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected a size such as 4GB"):
        parse_memory(text)


@given(st.text())
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with suppress(InputError):
        assert parse_memory(text) >= 0


@given(st.tuples(*[st.integers(1, 400)] * 3), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_route_covers_all_columns_and_keeps_the_limit(grid: tuple[int, int, int], megabytes: int) -> None:
    made = plan(window=(64, 64, 64))
    fixed = resident_bytes()
    limit = fixed + 64 * 10**6 + megabytes * 10**6
    try:
        found = choose_route(Demand(grid, grid, 0, 0), made, limit)
    except InputError as error:
        assert "more than the limit of" in str(error)
        return
    route = found.route
    assert sorted(route.axes) == [0, 1, 2] and route.slab_rows >= 1
    edges = [0, *(high for _, high in route.pieces)]
    assert [low for low, _ in route.pieces] == edges[:-1] and edges[-1] == grid[route.axes[1]]
    assert all(low < high for low, high in route.pieces)
    largest_sums = 4 * made.outputs * made.window[route.axes[0]] * max(h - w for w, h in route.pieces)
    assert fixed + largest_sums * grid[route.axes[2]] <= limit


def test_longer_scans_take_no_more_scores() -> None:
    """The slabs follow the longest axis: twice as long is the same estimate, but for what lies on the scan's grid."""
    made = plan(window=(64, 64, 64))

    def scores(length: int) -> int:
        demand = Demand((100, 100, length), (1, 1, 1), 0, 0)
        before = resident_bytes()
        return choose_route(demand, made, before + 10**10).peak_bytes - before

    assert scores(600) == pytest.approx(scores(300), rel=0.05)


def test_results_by_hand() -> None:
    made = plan()  # a label of 300: two bytes
    assert result_bytes(made, probabilities=False, uncertainty=False) == 4
    assert result_bytes(made, probabilities=True, uncertainty=True) == 2 * (2 + 4 * 4 + 4)


def test_a_limit_cuts_pieces_that_give_the_same_labels() -> None:
    made = plan(window=(32, 32, 32))
    scan = scan_of((90, 80, 70), "LPS", (1.0, 1.0, 1.0))
    segmenter = Segmenter(made, waves(4))
    prepared = segmenter.prepare(scan, PredictOptions())
    free = segmenter.route(prepared, PredictOptions())
    assert len(free.route.pieces) == 1
    first = resident_bytes() + 60 * 10**6
    routes = [_route(segmenter, prepared, limit) for limit in range(first, first + 40 * 10**6, 10**6)]
    cut_route = next(route for route in routes if route is not None and len(route.pieces) > 1)
    whole = segmenter.segment(prepared, PredictOptions(), free.route)
    cut = segmenter.segment(prepared, PredictOptions(), cut_route)
    np.testing.assert_array_equal(cut.labels.data, whole.labels.data)
    assert cut.volumes_ml == whole.volumes_ml


def _route(segmenter: Segmenter, prepared: Prepared, limit: int) -> Route | None:
    try:
        return segmenter.route(prepared, PredictOptions(memory_limit_bytes=limit)).route
    except InputError:
        return None


def test_a_limit_that_cannot_be_kept_is_refused_before_anything_is_computed() -> None:
    def never(windows: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    with pytest.raises(InputError, match=r"needs at least .* of memory, more than the limit of 0\.00 GB"):
        Segmenter(plan(), never).predict(scan_of((9, 9, 9), "RAS", (1.0, 1.0, 1.0)), memory_limit_bytes=10**6)
