"""Logs with and without what the plots want, and the pictures' contents judged by their pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr.evaluation.results import summarise
from unetr.report.plots import distributions_png, read_log, smoothed, training_curves_png

BLUE = np.array([0x2F, 0x81, 0xD6]) / 255


@pytest.fixture
def log(tmp_path):
    def write(text, name="log.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_read_log(log):
    columns = read_log(log("step,loss,note\n1,2.5,a\n2,nan,\n3,\n"))
    assert columns["step"].tolist() == [1, 2, 3]
    assert columns["loss"][0] == 2.5
    assert np.isnan(columns["loss"][1:]).all()
    assert np.isnan(columns["note"]).all()


@pytest.mark.parametrize("text", ["", "step,loss\n", "\n\n", "\0\0"])
def test_logs_without_rows(text, log):
    assert all(len(column) == 0 for column in read_log(log(text)).values())


def test_no_log(tmp_path):
    assert read_log(None) == read_log(tmp_path / "none.csv") == {}
    assert training_curves_png({}, {}, {}) is None


def test_rows_longer_than_the_header(log):
    assert read_log(log("step\n1,2,3\n"))["step"].tolist() == [1]


@pytest.mark.parametrize(
    ("training", "validation", "panels"),
    [
        ("step,loss,dice_loss,learning_rate\n1,2,1,1e-3\n2,1,.5,1e-4\n", "step,mean_dice,dice_a\n1,.5,.5\n", 3),
        ("step,loss\n1,2\n2,1\n", "", 1),
        ("", "step,mean_dice\n1,0.5\n2,0.6\n", 1),
        ("step,loss,learning_rate\n1,2,1\n", "mean_dice\n0.5\n", 2),
    ],
)
def test_a_panel_for_what_is_there(training, validation, panels, log, decode):
    logs = [read_log(log(text, f"{i}.csv")) for i, text in enumerate((training, validation))]
    pixels = decode(training_curves_png(*logs, {}))
    assert pixels.shape[1] == pytest.approx(120 * max(4.4, 3.6 * panels + 0.4), abs=2)
    left_spines = (pixels[..., 3] > 0.5).mean(axis=0) > 0.6
    assert np.count_nonzero(np.diff(left_spines.astype(int)) == 1) == panels


def test_the_curve_falls_where_the_loss_falls(log, decode):
    rows = "".join(f"{step},{100 - step}\n" for step in range(100))
    pixels = decode(training_curves_png(read_log(log("step,loss\n" + rows)), {}, {}))
    blue = (np.abs(pixels[..., :3] - BLUE).max(axis=2) < 0.1) & (pixels[..., 3] > 0.5)
    rows_of_blue, columns = np.nonzero(blue)
    middle = columns < np.percentile(columns, 75)  # the legend's sample is at the right
    assert np.corrcoef(rows_of_blue[middle], columns[middle])[0, 1] > 0.95


def test_distributions(results, decode):
    one = decode(distributions_png(results, {"dice": "Dice"}))
    two = decode(distributions_png(results, {"dice": "Dice", "hd95_mm": "HD95 (mm)"}))
    assert two.shape[1] > 1.5 * one.shape[1]
    assert (one[..., 3] == 0).mean() > 0.5  # the ground is transparent, so that it suits light and dark pages


def test_distributions_of_undefined_scores(results):
    undefined = [score for score in results.scores if math.isnan(score.dice)]
    assert distributions_png(summarise(undefined, 2.0), {"dice": "Dice"}) is not None
    assert distributions_png(summarise([], 2.0), {"dice": "Dice"}) is None


def test_smoothed_by_hand():
    values = np.array([1.0, 2, 6, math.nan, 4])
    assert smoothed(values, 1)[[0, 1, 2, 4]].tolist() == [1, 2, 6, 4]
    assert smoothed(values, 3).tolist() == pytest.approx([1.5, 3, 4, 5, 4])
    assert math.isnan(smoothed(np.array([math.nan]), 1)[0])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(1, 9))
def test_smoothing_stays_within_the_values(values, window):
    found = smoothed(np.array(values), window)
    assert len(found) == len(values)
    assert found.min() >= min(values) - 1e-9
    assert found.max() <= max(values) + 1e-9


def test_a_name_with_an_underscore_first_is_in_the_legend():
    from matplotlib.figure import Figure

    from unetr.report.plots import legend

    axes = Figure().subplots()
    axes.plot([1, 2], label="_hidden")
    axes.plot([1, 2])
    axes.plot([1, 3], label="shown")
    legend(axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["_hidden", "shown"]
