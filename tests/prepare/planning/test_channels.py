"""Normalisation is chosen so that no label is clipped away: by percentiles counted by hand and by what stays apart."""

from __future__ import annotations

import numpy as np
import pytest

from unetr.core.plan.fingerprint import ContrastStatistics, IntensityStatistics
from unetr.core.plan.schema import ChannelPlan
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.measure.contrast import channel_contrast, contrast_statistics
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.channels import choose_clip, choose_normalisation
from unetr.prepare.planning.planner import make_plan
from unetr.prepare.preprocess import NORMALISATIONS

CLIPPED = pytest.mark.fault("clipped away before training")
SHAPE = (20, 20, 20)
STATISTICS = IntensityStatistics(
    minimum=0, maximum=100, mean=40, std=10, percentile_00_5=10, median=40, percentile_99_5=60
)


def chosen(scans, name="MRI"):
    """The plan for a channel from pairs of scan and label, all as the fingerprint does it."""
    facts = [(channel_contrast(scan, label, sorted(set(np.unique(label)) - {0})),) for scan, label in scans]
    return choose_normalisation(name, STATISTICS, contrast_statistics(facts, (name,))[name])


def noise(seed, scale=1.0):
    return np.random.default_rng(seed).normal(100 * scale, 10 * scale, SHAPE).astype(np.float32)


def spots(count=8):
    label = np.zeros(SHAPE, np.uint8)
    label.reshape(-1)[500 : 500 + 37 * count : 37] = 1
    return label


@CLIPPED
def test_percentiles_by_hand():
    """1000 voxels 0..999; the label has 998 and 999: index 998 or 999 of 999 steps."""
    values = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    label = (values >= 998).astype(np.uint8)
    facts = channel_contrast(values, label, [1])
    assert facts.high_percentile == pytest.approx(100 * 999 / 999)
    assert (facts.low_percentile, facts.low_loss) == (0.5, 0.0)
    low, high = np.percentile(values, (0.5, 99.5))
    assert facts.high_loss == pytest.approx((999 - high) / np.clip(values, low, high).std(), rel=1e-5)
    dark = channel_contrast(values, (values <= 1).astype(np.uint8), [1])
    assert dark.low_percentile == 0.0 and dark.high_percentile == 99.5
    middle = channel_contrast(values, ((values > 400) & (values < 600)).astype(np.uint8), [1])
    assert (middle.low_percentile, middle.high_percentile, middle.high_loss) == (0.5, 99.5, 0.0)


@CLIPPED
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("offset", [0.0, -500.0])
def test_a_small_label_stays_apart_from_the_background(scale, sign, offset):
    """8 voxels of 8000, far brighter or darker than all else: still apart after normalisation."""
    scans = []
    for seed in range(5):
        label = spots()
        scans.append((noise(seed, scale) + np.float32(scale) * np.float32(offset + sign * 200) * label, label))
    plan, reason = chosen(scans)
    assert "deviations of its brightness in 5 of 5 scans" in reason
    for scan, label in scans:
        image = sign * NORMALISATIONS["zscore"](scan, plan)
        usual = sign * NORMALISATIONS["zscore"](scan, ChannelPlan(name="MRI"))
        if sign * (offset + sign * 200) > 0:
            assert image[label == 1].min() > image[label == 0].max() + 1.5
            assert usual[label == 1].min() <= usual[label == 0].max()


@CLIPPED
def test_one_of_two_labels_and_one_of_many_cases_are_enough():
    """A large label and a tiny bright one, and that in one case of eight."""
    scans = []
    for seed in range(8):
        label = np.zeros(SHAPE, np.uint8)
        label[4:16, 4:16, 4:16] = 1
        scan = noise(seed) + 50 * label
        if seed == 3:
            label[8, 8, 8:11] = 2
            scan[8, 8, 8:11] = 900
        scans.append((scan.astype(np.float32), label))
    plan, _ = chosen(scans)
    assert plan.clip_percentiles[0] == 0.5 and plan.clip_percentiles[1] > 99.97
    scan, label = scans[3]
    image = NORMALISATIONS["zscore"](scan, plan)
    assert image[label == 2].min() > image[label == 1].max() + 1.5


@CLIPPED
def test_labels_within_the_usual_clip_change_nothing():
    label = np.zeros(SHAPE, np.uint8)
    label[4:10, 4:10, 4:10] = 1
    plan, reason = chosen([(noise(seed) + 10 * label, label) for seed in range(4)])
    assert plan == ChannelPlan(name="MRI") and "percentiles" not in reason


@CLIPPED
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(0, 1), (0, 1)], ("range", 0, 1)),
        ([(0, 1), (0,)], ("range", 0, 1)),  # empty in one case
        ([(0, 255), (0, 255)], ("range", 0, 255)),
        ([(0, 1), (0, 255)], ("zscore", None, None)),  # one mask, written in two ways
        ([(0, 1), (0, 2)], ("range", 0, 2)),  # two labels of one map
        ([(0, 1, 2, 3), (0, 2)], ("range", 0, 3)),
        ([(-1, 0, 1), (0, 1)], ("range", -1, 1)),
        ([(0, 1e-6), (0, 1e-6)], ("range", 0, np.float32(1e-6))),
    ],
)
def test_masks_and_label_maps_keep_their_values(values, expected):
    scans = []
    for some in values:
        scan = np.full(SHAPE, some[0] if 0 not in some else 0, np.float32)
        for place, value in enumerate(some):
            scan.reshape(-1)[100 + 7 * place] = value
        scans.append((scan, np.zeros(SHAPE, np.uint8)))
    plan, _ = chosen(scans)
    assert (plan.normalisation, plan.low, plan.high) == expected
    for scan, _ in scans:
        image = NORMALISATIONS[plan.normalisation](scan, plan)
        assert len(np.unique(image)) == len(np.unique(scan))


@CLIPPED
def test_a_sparse_channel_of_many_values_is_not_clipped():
    scan = np.zeros(SHAPE, np.float32)
    scan.reshape(-1)[100:130] = np.linspace(0.01, 1, 30) ** 2
    scan.reshape(-1)[200:210] = np.linspace(0.3, 0.7, 10)
    plan, reason = chosen([(scan, np.zeros(SHAPE, np.uint8))] * 3)
    assert plan.clip_percentiles == (0, 100) and "sparse: in 3 of 3 scans" in reason
    assert len(np.unique(NORMALISATIONS["zscore"](scan, plan))) > 35


@CLIPPED
def test_a_spike_beside_a_small_label_is_still_clipped():
    """The clip is as tight as the label allows, so that one bad voxel does not blow up the deviation."""
    label = spots(30)
    scan = noise(0) + 100 * label
    scan[0, 0, 0] = 1e6
    plan, _ = chosen([(scan.astype(np.float32), label)] * 4)
    image = NORMALISATIONS["zscore"](scan, plan)
    assert plan.clip_percentiles[1] < 100
    assert np.median(image[label == 1]) > np.median(image[label == 0]) + 1.5


@CLIPPED
def test_ct_limits_hold_a_small_label_beside_a_large_one():
    facts = ContrastStatistics(
        low_percentiles=[0.5] * 4,
        high_percentiles=[99.5] * 4,
        low_losses=[0] * 4,
        high_losses=[0] * 4,
        darkest=[12, 13, 14, 12],
        brightest=[900, 880, 910, 905],
    )
    plan, reason = choose_normalisation("CT", STATISTICS, facts)
    assert plan.low == 10 and 900 <= plan.high <= 910 and "small label" in reason
    usual = facts.model_copy(update={"brightest": [55, 58, 61, 59]})
    assert choose_normalisation("CT", STATISTICS, usual)[0].high == 60
    plan, reason = choose_normalisation("CT", STATISTICS, usual, scale_spread=1e4)
    assert plan.normalisation == "zscore" and "no common unit" in reason


def test_a_clip_is_half_of_the_tail_that_a_label_needs():
    facts = ContrastStatistics(
        low_percentiles=[0.2, 0.5], high_percentiles=[99.9, 99.5], low_losses=[3, 0], high_losses=[0.1, 0]
    )
    assert choose_clip(facts)[0] == (0.1, 99.5)
    both = facts.model_copy(update={"high_losses": [0.3, 0]})
    assert choose_clip(both)[0] == pytest.approx((0.1, 99.95))


@CLIPPED
def test_the_plan_says_why(tmp_path, save_scan):
    """Only one of two channels is hot; each has its own clip and reason."""
    for case in range(5):
        label = spots()
        save_scan(tmp_path / f"images/c{case}_0000.nii.gz", noise(case))
        save_scan(tmp_path / f"images/c{case}_0001.nii.gz", noise(case + 50) + 500.0 * label)
        save_scan(tmp_path / f"labels/c{case}.nii.gz", label)
    dataset = open_dataset(tmp_path)
    plan = make_plan(dataset, measure_fingerprint(dataset), preset="tiny")
    cold, hot = plan.channels
    assert cold.clip_percentiles == (0.5, 99.5) and hot.clip_percentiles[1] > 99.9
    assert "clipped at the percentiles" in plan.reasons[f"channels.{hot.name}"]
    assert "clipped" not in plan.reasons[f"channels.{cold.name}"]
