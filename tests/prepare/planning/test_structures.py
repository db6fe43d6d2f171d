"""Widths of structures by hand, and that neither a budget nor the median makes small ones vanish."""

from __future__ import annotations

import numpy as np
import pytest

from unetr.core.plan.fingerprint import Fingerprint, LabelStatistics
from unetr.core.space.geometry import resample
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.measure.structures import measure_structures, share_at_risk, spare_structures
from unetr.prepare.planning.budget import Budget, fit_spacing
from unetr.prepare.planning.planner import make_plan
from unetr.prepare.prepared import prepared_problems

VANISH = pytest.mark.fault("structures vanish on a coarse grid")


def boxes(*sizes, shape=(30, 30, 30)):
    """Boxes of so many voxels along each axis, apart from each other."""
    mask = np.zeros(shape, bool)
    for number, (x, y, z) in enumerate(sizes):
        at = 1 + 6 * number
        mask[at : at + x, 2 : 2 + y, 3 : 3 + z] = True
    return mask


@VANISH
@pytest.mark.parametrize(
    ("mask", "spacing", "components", "width"),
    [
        (boxes((1, 1, 1)), (1, 1, 1), 1, 1),
        (boxes((2, 1, 1)), (1, 1, 1), 1, 1),
        (boxes((2, 2, 2)), (1, 1, 1), 1, 2),
        (boxes((3, 4, 5)), (1, 1, 1), 1, 3),
        (boxes((3, 4, 5)), (0.02, 0.02, 0.02), 1, 0.06),
        (boxes((4, 4, 20)), (1, 1, 1), 1, 4),
        (boxes((1, 1, 20)), (1, 1, 1), 1, 1),  # a vessel
        (boxes((4, 4, 1)), (0.5, 0.5, 3.0), 1, 2.0),  # a spot on one thick slice
        (boxes((2, 2, 2), (2, 2, 2), (1, 1, 1)), (1, 1, 1), 3, 1.2),  # 10th percentile of 1, 2, 2
    ],
)
def test_widths_by_hand(mask, spacing, components, width):
    found = measure_structures(mask, spacing)
    assert found.components == components
    assert found.width_mm == pytest.approx(width)


@VANISH
def test_a_vessel_with_a_knot_is_as_thin_as_most_of_it_and_a_speck_does_not_count():
    vessel = boxes((1, 1, 27))
    vessel[1:4, 1:4, 3:5] = True  # 18 voxels of 43
    assert measure_structures(vessel, (1, 1, 1)).width_mm == 1
    organ = boxes((5, 20, 20))
    organ[20, 20, 20] = True
    assert measure_structures(organ, (1, 1, 1)).width_mm == 5


@VANISH
@pytest.mark.parametrize("width", [2, 3, 4])
def test_what_counts_as_safe_is_so_wherever_the_structure_lies(width):
    """A box on a grid of its width less 0.6, at every offset: linear masks keep a voxel above one half."""
    spacing = width - 0.6
    facts = Fingerprint.model_construct(spacings_mm=[(1.0, 1.0, 1.0)], widths_mm=[float(width)])
    assert share_at_risk(facts, (spacing,) * 3) == 0
    assert share_at_risk(facts, (width + 0.1,) * 3) == 1
    size = round(20 * spacing)
    for offset in range(3, 20):
        mask = np.zeros((1, size, size, size), np.float32)
        mask[:, *(slice(offset, offset + width),) * 3] = 1
        assert resample(mask, (20,) * 3, "linear").max() > 0.49


def facts(spacings, widths):
    label = LabelStatistics(
        name="lesion", value=1, cases=len(widths), voxel_fraction=0.01, median_volume_ml=1, components=9, width_mm=1.0
    )
    return Fingerprint.model_construct(
        cases=len(spacings),
        shapes=[(96, 96, 96)] * len(spacings),
        spacings_mm=spacings,
        widths_mm=widths,
        labels=[label],
    )


@VANISH
@pytest.mark.parametrize(("width", "spacing"), [(1.0, 1.0), (2.0, 1.4), (3.0, 2.4), (8.0, 3.0), (0.0, 3.0)])
def test_a_budget_stops_where_structures_would_be_lost(width, spacing):
    """Next to no time asks for voxels three times coarser."""
    found, reason = fit_spacing((1.0, 1.0, 1.0), facts([(1.0, 1.0, 1.0)] * 6, [width] * 6), Budget(0.1, 1e4), 64**3)
    assert found == (spacing,) * 3
    assert ("lesion has 9 components" in reason) == (width not in (0.0, 8.0))


@VANISH
def test_the_median_spacing_gives_way_to_fine_scans_with_small_structures():
    """Half of the scans at 0.5 mm with structures of 1 mm, which 1 mm voxels would lose; the others have wide ones."""
    spacings = [(0.5,) * 3] * 4 + [(1.0,) * 3] * 6
    small, reason = spare_structures((1.0, 1.0, 1.0), facts(spacings, [1.0] * 4 + [6.0] * 6))
    assert small == (0.5, 0.5, 0.5) and "made finer, from 1x1x1 mm: that would cost 40%" in reason
    wide = facts(spacings, [4.0] * 10)
    assert spare_structures((1.0, 1.0, 1.0), wide) == ((1.0, 1.0, 1.0), "")


@VANISH
def test_lesions_of_two_voxels_survive_a_short_budget(tmp_path, save_scan):
    for case in range(4):
        rng = np.random.default_rng(case)
        label = np.zeros((40, 40, 40), np.uint8)
        for _ in range(3):
            x, y, z = rng.integers(4, 34, 3)
            label[x : x + 2, y, z] = 1
        save_scan(
            tmp_path / f"images/c{case}.nii.gz", rng.normal(100, 5, label.shape).astype(np.float32) + 150.0 * label
        )
        save_scan(tmp_path / f"labels/c{case}.nii.gz", label)
    dataset = open_dataset(tmp_path)
    fingerprint = measure_fingerprint(dataset)
    assert fingerprint.labels[0].width_mm == 1.0 and fingerprint.widths_mm == [1.0] * 4
    plan = make_plan(dataset, fingerprint, preset="small", budget=Budget(0.01, 1e4))
    assert plan.spacing_mm == (1.0, 1.0, 1.0)
    assert prepared_problems(dataset, plan) == []
