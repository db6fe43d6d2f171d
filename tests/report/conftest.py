"""Results, a plan and a fingerprint to report on; names are hostile on purpose."""

from __future__ import annotations

import math

import pytest

from unetr.core.plan.fingerprint import Fingerprint, IntensityStatistics, LabelStatistics
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.evaluation.results import ClassScore, Results, summarise

HOSTILE = "<script>alert('x')</script> & \"$1^{2}$\" ${title}"


@pytest.fixture
def hostile() -> str:
    """A name that breaks HTML, attributes, templates and formulas, unless it is treated as text."""
    return HOSTILE


@pytest.fixture
def results() -> Results:
    """Three cases of two classes, one score undefined, one case without a prediction."""
    nan = math.nan
    rows = [
        ClassScore("c1", "anterior", (1,), 0.9125, 0.8391, 1.25, 0.41, 0.987, 90, 8, 9, 0.098, 0.099),
        ClassScore("c1", HOSTILE, (2,), 0.7125, 0.5534, 2.75, 0.92, 0.876, 70, 20, 30, 0.09, 0.1),
        ClassScore("c2", "anterior", (1,), 0.8325, 0.7131, 1.5, 0.52, 0.954, 80, 18, 14, 0.098, 0.094),
        ClassScore("c2", HOSTILE, (2,), nan, nan, nan, nan, nan, 0, 0, 0, 0.0, 0.0),
        ClassScore(HOSTILE, "anterior", (1,), 0.0, 0.0, nan, nan, nan, 0, 0, 50, 0.0, 0.05),
        ClassScore(HOSTILE, HOSTILE, (2,), 0.0, 0.0, nan, nan, nan, 0, 0, 40, 0.0, 0.04),
    ]
    return summarise(rows, 1.5, missing=[HOSTILE], extra=["spare"])


@pytest.fixture
def plan() -> Plan:
    return Plan(
        dataset=HOSTILE,
        channels=(ChannelPlan(name="T1"),),
        labels={"background": 0, "anterior": 1, HOSTILE: 2},
        spacing_mm=(0.8, 1.0, 2.5),
        window=(48, 64, 32),
        reasons={
            "spacing_mm": "median of the cases",
            "network": "preset paper because it was asked for",
            "mirror_axes": "no axis survives",
            "unheard_of": HOSTILE,
        },
    )


@pytest.fixture
def fingerprint() -> Fingerprint:
    intensities = IntensityStatistics(
        minimum=-3, maximum=4321, mean=210.5, std=33.25, percentile_00_5=5, median=205, percentile_99_5=987
    )
    labels = [LabelStatistics(name="anterior", value=1, cases=17, voxel_fraction=0.0321, median_volume_ml=1.75)]
    return Fingerprint(
        dataset=HOSTILE,
        cases=19,
        shapes=[(30, 50, 36), (35, 51, 36), (36, 58, 40)],
        spacings_mm=[(0.8, 1.0, 2.5)] * 3,
        orientations={"RAS": 12, "LPS": 7},
        channels={"T1": intensities},
        labels=labels,
        intensity_scale_spread=123.0,
    )
