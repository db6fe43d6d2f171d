"""Overlap counts against numbers worked out by hand and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr.evaluation.dice import dice, dice_per_class, iou, mask_counts, pair_counts, tp_fp_fn

labels_4 = hnp.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 3))


def test_by_hand():
    truth = np.array([0, 0, 1, 1, 1, 2])
    prediction = np.array([0, 1, 1, 1, 2, 2])
    counts = pair_counts(prediction, truth, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    tp, fp, fn = tp_fp_fn(counts)
    assert (tp.tolist(), fp.tolist(), fn.tolist()) == ([1, 2, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0])
    found = dice_per_class(prediction, truth, 4)
    assert found[:3].tolist() == pytest.approx([2 / 3, 4 / 6, 2 / 3])
    assert math.isnan(found[3])
    assert iou(2, 1, 1) == 0.5


def test_empty_rules():
    assert math.isnan(dice(0, 0, 0))
    assert math.isnan(iou(0, 0, 0))
    assert dice(0, 5, 0) == dice(0, 0, 5) == iou(0, 5, 0) == iou(0, 0, 5) == 0


@given(labels_4, labels_4)
def test_counts_equal_a_plain_loop(prediction, truth):
    counts = pair_counts(prediction, truth, 4)
    expected = np.zeros((4, 4), int)
    for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        expected[t, p] += 1
    assert np.array_equal(counts, expected)
    for value in range(4):
        tp, fp, fn = mask_counts(prediction == value, truth == value)
        assert [n[value] for n in tp_fp_fn(counts)] == [tp, fp, fn]


@given(labels_4, labels_4)
def test_symmetric_bounded_and_related(prediction, truth):
    forward, backward = dice_per_class(prediction, truth, 4), dice_per_class(truth, prediction, 4)
    assert np.array_equal(forward, backward, equal_nan=True)
    defined = forward[~np.isnan(forward)]
    assert ((defined >= 0) & (defined <= 1)).all()
    for value in range(4):
        counts = mask_counts(prediction == value, truth == value)
        if sum(counts):
            assert dice(*counts) == pytest.approx(2 * iou(*counts) / (1 + iou(*counts)))


def test_many_voxels_in_several_chunks():
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 3, (2, 170, 170, 170), dtype=np.uint8)
    counts = pair_counts(prediction, truth, 3)
    assert counts.sum() == truth.size
    assert counts[1, 2] == np.count_nonzero((truth == 1) & (prediction == 2))


@pytest.mark.parametrize("bad", [3, -1])
def test_values_out_of_range(bad):
    with pytest.raises(ValueError, match=r"0\.\.2"):
        pair_counts(np.array([0, bad]), np.array([0, 1]), 3)


def test_shapes_differ():
    with pytest.raises(ValueError, match="one shape"):
        pair_counts(np.zeros((2, 2)), np.zeros((2, 3)), 2)


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_more_agreement_is_never_worse(tp, fp, fn):
    if tp + fp + fn:
        assert dice(tp + 1, fp, fn) >= dice(tp, fp, fn) >= dice(tp, fp + 1, fn)
