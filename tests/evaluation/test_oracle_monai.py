"""Metrics against MONAI where the definitions agree. This module alone pays for importing MONAI (about 16 s).

Agree: Dice, IoU, and the surface Dice with `use_subvoxels=True`. Differ: MONAI's Hausdorff and average surface distance
put one point of equal weight at the centre of each voxel that has an outside face neighbour; the elements here lie at
voxel corners and weigh as much as the surface there. Each such point has an element within half a voxel diagonal and
the other way round, so the largest distances differ by at most one diagonal; means and percentiles have no such bound.
"""

from __future__ import annotations

import numpy as np
import pytest

from unetr.evaluation.dice import dice, iou, mask_counts
from unetr.evaluation.surface import hausdorff_mm, surface_dice, surface_distances

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="session")
def monai():
    """(torch, monai.metrics)"""
    torch = pytest.importorskip("torch")
    return torch, pytest.importorskip("monai.metrics")


def one_hot(torch, mask):
    return torch.from_numpy(mask.copy())[None, None].float()


def check(monai, pairs):
    torch, metrics = monai
    for pair in pairs:
        prediction, truth = one_hot(torch, pair.prediction), one_hot(torch, pair.truth)
        counts = mask_counts(pair.prediction, pair.truth)
        assert dice(*counts) == pytest.approx(metrics.compute_dice(prediction, truth).item(), abs=1e-6), pair.name
        assert iou(*counts) == pytest.approx(metrics.compute_iou(prediction, truth).item(), abs=1e-6), pair.name
        found = surface_distances(pair.prediction, pair.truth, pair.spacing_mm)
        theirs = metrics.compute_surface_dice(
            prediction, truth, [1.1], include_background=True, spacing=pair.spacing_mm, use_subvoxels=True
        )
        assert surface_dice(found, 1.1) == pytest.approx(theirs.item(), abs=1e-5), pair.name
        largest = metrics.compute_hausdorff_distance(
            prediction, truth, include_background=True, spacing=pair.spacing_mm
        ).item()
        diagonal_mm = float(np.linalg.norm(pair.spacing_mm))
        assert abs(hausdorff_mm(found, 100) - largest) <= diagonal_mm * (1 + 1e-6), pair.name


def test_random_and_edge_masks(monai, made_pairs):
    check(monai, made_pairs)


def test_at_least_200_pairs_with_real_ones(monai, mask_pairs, made_pairs):
    assert len(mask_pairs) >= 200
    check(monai, mask_pairs[len(made_pairs) :])


def test_empty_masks(monai):
    """MONAI leaves Dice undefined whenever the truth is empty unless told not to; then it agrees for one empty mask."""
    torch, metrics = monai
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    for prediction, truth in [(empty, full), (full, empty)]:
        theirs = metrics.compute_dice(one_hot(torch, prediction), one_hot(torch, truth), ignore_empty=False).item()
        assert dice(*mask_counts(prediction, truth)) == theirs == 0
    both = metrics.compute_dice(one_hot(torch, empty), one_hot(torch, empty)).item()
    assert np.isnan(both)
    assert np.isnan(dice(*mask_counts(empty, empty)))
