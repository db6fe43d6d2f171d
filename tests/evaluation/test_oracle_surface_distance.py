"""Every metric against DeepMind's surface-distance, on random, edge and real masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import surface_distance
from surface_distance import lookup_tables

from unetr.evaluation.dice import dice, mask_counts
from unetr.evaluation.surface import (
    average_symmetric_distance_mm,
    hausdorff_mm,
    surface_dice,
    surface_distances,
)
from unetr.evaluation.surface_area import CORNERS, surface_areas

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TOLERANCES_MM = (0, 0.77, 1, 2, 3.3)
# Not 50: in symmetric shapes exactly half of the area is often reached, and their answer then hangs on rounding.
PERCENTILES = (61, 95, 100)


def oracle(prediction, truth, spacing_mm):
    found = surface_distance.compute_surface_distances(truth, prediction, spacing_mm)
    to_prediction, to_truth = surface_distance.compute_average_surface_distance(found)
    area_truth, area_prediction = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
    assd = (to_prediction * area_truth + to_truth * area_prediction) / (area_truth + area_prediction)
    values = {f"hd{p}": surface_distance.compute_robust_hausdorff(found, p) for p in PERCENTILES}
    nsd = {t: surface_distance.compute_surface_dice_at_tolerance(found, t) for t in TOLERANCES_MM}
    return {**values, "assd": assd, **nsd}


def ours(prediction, truth, spacing_mm):
    found = surface_distances(prediction, truth, spacing_mm)
    values = {f"hd{p}": hausdorff_mm(found, p) for p in PERCENTILES}
    nsd = {t: surface_dice(found, t) for t in TOLERANCES_MM}
    return {**values, "assd": average_symmetric_distance_mm(found), **nsd}


def check(pairs):
    for pair in pairs:
        expected = oracle(pair.prediction, pair.truth, pair.spacing_mm)
        found = ours(pair.prediction, pair.truth, pair.spacing_mm)
        assert found == pytest.approx(expected, abs=1e-5), pair.name
        assert dice(*mask_counts(pair.prediction, pair.truth)) == pytest.approx(
            surface_distance.compute_dice_coefficient(pair.truth, pair.prediction)
        ), pair.name


def test_random_and_edge_masks(made_pairs):
    assert len(made_pairs) > 100
    check(made_pairs)


def test_at_least_200_pairs_with_real_ones(mask_pairs, made_pairs):
    assert len(mask_pairs) >= 200
    check(mask_pairs[len(made_pairs) :])


def test_area_of_all_256_neighbourhoods():
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    theirs = [sum(int(kernel[corner]) for bit, corner in enumerate(CORNERS) if code >> bit & 1) for code in range(256)]
    for spacing_mm in [(1.0, 1.0, 1.0), (0.5, 3.0, 1.1), (6.5, 0.6875, 0.6875)]:
        table = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
        assert surface_areas(spacing_mm) == pytest.approx(table[theirs], rel=1e-12)


def test_empty_masks_differ_as_written_down(monkeypatch):
    """They report an infinite distance when one mask is empty; here it is undefined, and counted."""
    monkeypatch.setattr(np, "Inf", math.inf, raising=False)  # they use a name that numpy 2 took away
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    found = surface_distance.compute_surface_distances(full, empty, (1, 1, 1))
    assert surface_distance.compute_robust_hausdorff(found, 95) == math.inf
    assert math.isnan(hausdorff_mm(surface_distances(empty, full, (1, 1, 1)), 95))
    both = surface_distance.compute_surface_distances(empty, empty, (1, 1, 1))
    assert both["distances_gt_to_pred"].size == 0
    assert not surface_distances(empty, empty, (1, 1, 1)).defined
