"""Statistics over cases against closed forms, and the files they are kept in."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr.errors import InputError
from unetr.evaluation.results import (
    ClassScore,
    mean_foreground_dice,
    read_results,
    results_to_csv_rows,
    results_to_json,
    summarise,
    worst_cases,
    write_results,
)
from unetr.evaluation.summary import bootstrap_interval, case_means, statistic

NAN = math.nan


def score(case, label, dice, **changes):
    fields = {"iou": 0.5, "hd95_mm": 2.0, "assd_mm": 1.0, "nsd": 0.9, "tp": 8, "fp": 1, "fn": 2}
    fields |= {"prediction_ml": 0.9, "truth_ml": 1.0, **changes}
    return ClassScore(case=case, label=label, values=(1 if label == "a" else 2,), dice=dice, **fields)


def absent(case, label):
    undefined = {"iou": NAN, "hd95_mm": NAN, "assd_mm": NAN, "nsd": NAN, "tp": 0, "fp": 0, "fn": 0}
    return score(case, label, NAN, **undefined, prediction_ml=0.0, truth_ml=0.0)


def one_sided(case, label, **counts):
    counts = {"tp": 0, "fp": 0, "fn": 0, **counts}
    return score(case, label, 0.0, iou=0.0, hd95_mm=NAN, assd_mm=NAN, nsd=NAN, **counts)


@pytest.fixture
def results():
    scores = [
        score("c1", "a", 0.9),
        score("c1", "b", 0.7),
        score("c2", "a", 0.6),
        absent("c2", "b"),
        one_sided("c3", "a", fn=4),
        one_sided("c3", "b", fp=4),
    ]
    return summarise(scores, 2.0, missing=["c3"], extra=["c9"])


def test_summary_by_hand(results):
    a, b = results.classes
    assert (a.label, a.cases, a.empty_both, a.empty_prediction, a.empty_truth) == ("a", 3, 0, 1, 0)
    assert (b.label, b.cases, b.empty_both, b.empty_prediction, b.empty_truth) == ("b", 3, 1, 0, 1)
    assert a.metrics["dice"].mean == pytest.approx(0.5)
    assert a.metrics["dice"].median == pytest.approx(0.6)
    assert a.metrics["dice"].std == pytest.approx(math.sqrt((0.4**2 + 0.1**2 + 0.5**2) / 2))
    assert (a.metrics["hd95_mm"].n, a.metrics["hd95_mm"].undefined) == (2, 1)
    assert (b.metrics["dice"].n, b.metrics["dice"].undefined) == (2, 1)
    assert b.metrics["dice"].mean == pytest.approx(0.35)
    assert results.mean_dice == pytest.approx((0.5 + 0.35) / 2)  # of the classes' means
    assert results.foreground["dice"].mean == pytest.approx((0.8 + 0.6 + 0) / 3)  # of the cases' means
    assert results.cases == ("c1", "c2", "c3")
    assert worst_cases(results, 2) == [("c3", 0.0), ("c2", 0.6)]


def test_mean_of_nothing():
    assert math.isnan(mean_foreground_dice([]))
    assert math.isnan(mean_foreground_dice([absent("c", "a")]))
    assert summarise([], 1.0).foreground["dice"].n == 0


def test_json_is_strict_and_says_everything(results):
    text = results_to_json(results)
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["scores"][3]["dice"] is None
    assert document["classes"][0]["metrics"]["dice"]["mean"] == pytest.approx(0.5)
    assert document["mean_dice"] == pytest.approx(0.425)
    assert (document["missing"], document["extra"], document["tolerance_mm"]) == (["c3"], ["c9"], 2.0)


def test_csv_has_a_row_per_score(results, tmp_path):
    write_results(tmp_path, results)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[0]["case"] == "c1"
    assert float(rows[0]["dice"]) == 0.9
    assert rows[3]["dice"] == rows[3]["hd95_mm"] == ""
    header, *cells = results_to_csv_rows(results)
    assert [list(row.values()) for row in rows] == cells
    assert list(rows[0]) == header


def test_files_round_trip(results, tmp_path):
    path, _ = write_results(tmp_path / "new", results)
    again = read_results(path)
    assert results_to_json(again) == results_to_json(results)
    assert again.scores[:3] == results.scores[:3]
    assert sorted(p.name for p in path.parent.iterdir()) == ["results.csv", "results.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format_version": 2}', '{"format_version": 1, "scores": [{}]}'])
def test_broken_results_file(text, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"results\.json"):
        read_results(path)


def test_bootstrap_of_a_normal_sample_is_near_the_closed_form():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half * 2)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half * 2)


def test_bootstrap_of_two_values():
    """Two cases 0 and 1: the mean of a draw is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4."""
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0.0, 1.0)
    assert bootstrap_interval(np.array([0.5, 0.5])) == (0.5, 0.5)


def test_bootstrap_needs_two_defined_cases():
    assert all(math.isnan(end) for end in bootstrap_interval(np.array([1.0, NAN, NAN])))
    assert math.isnan(statistic([0.5]).ci_low)
    assert statistic([0.5]).mean == 0.5


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), min_size=1, max_size=30))
def test_statistic_properties(values):
    found = statistic(values)
    defined = [v for v in values if not math.isnan(v)]
    assert (found.n, found.undefined) == (len(defined), len(values) - len(defined))
    if defined:
        assert found.mean == pytest.approx(np.mean(defined))
        assert found.median == pytest.approx(np.median(defined))
    if len(defined) > 1:
        assert min(defined) - 1e-12 <= found.ci_low <= found.ci_high <= max(defined) + 1e-12
        assert bootstrap_interval(np.array(values)) == (found.ci_low, found.ci_high)


def test_case_means_leave_out_the_undefined():
    means = case_means([[1.0, 0.5], [NAN, 0.5], [NAN, NAN]])
    assert means[:2].tolist() == [0.75, 0.5]
    assert math.isnan(means[2])
