from __future__ import annotations

import pytest

from unetr.core.plan.fingerprint import LabelStatistics
from unetr.prepare.planning.mirrors import choose_mirror_axes


def _label(name, side=(0.0, 0.0, 0.0), cases=20) -> LabelStatistics:
    return LabelStatistics(name=name, value=1, cases=cases, voxel_fraction=0.1, median_volume_ml=1, side=side)


@pytest.mark.parametrize(
    ("labels", "cases", "axes"),
    [
        ([_label("a", (0.1, 0.2, 0.3)), _label("b", (-0.1, 0, 0))], 20, (0, 1, 2)),
        ([_label("left", (-9, 0, 0)), _label("right", (9, 0, 0))], 20, (1, 2)),
        ([_label("a", (0.5, 0, 0)), _label("b", (0, 0, -2.0))], 20, (0, 1)),
        ([_label("a")], 20, ()),
        ([_label("a")], 4, ()),
        ([_label("a"), _label("rare", cases=4)], 20, ()),
        ([_label("a"), _label("absent", cases=0)], 20, ()),
        ([_label("absent", cases=0), _label("also", cases=0)], 20, ()),
    ],
)
def test_mirror_axes_by_the_stated_test(labels, cases, axes):
    assert choose_mirror_axes(labels, cases)[0] == axes
