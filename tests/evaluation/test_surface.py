"""Surface metrics: areas and distances worked out by hand, and properties that any such metric must have."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr.evaluation.surface import (
    average_symmetric_distance_mm,
    hausdorff_mm,
    surface_dice,
    surface_distances,
)
from unetr.evaluation.surface_area import CORNERS, surface_areas

UNIT = (1.0, 1.0, 1.0)
masks = hnp.arrays(np.bool_, (4, 3, 5))
spacings = st.tuples(*[st.floats(0.2, 8)] * 3)


def metrics(prediction, truth, spacing_mm, tolerance_mm=1.0):
    found = surface_distances(prediction, truth, spacing_mm)
    return np.array(
        [
            hausdorff_mm(found, 100),
            hausdorff_mm(found, 95),
            average_symmetric_distance_mm(found),
            surface_dice(found, tolerance_mm),
        ]
    )


def code_of(*inside):
    return sum(1 << CORNERS.index(corner) for corner in inside)


def test_areas_by_hand():
    x, y, z = 2.0, 3.0, 5.0
    area = surface_areas((x, y, z))
    corner = math.sqrt((y * z) ** 2 + (x * z) ** 2 + (x * y) ** 2) / 8  # triangle through three edge midpoints
    assert area[code_of((0, 0, 0))] == pytest.approx(corner)
    flat = [corner for corner in CORNERS if corner[0] == 0]
    assert area[code_of(*flat)] == pytest.approx(y * z)  # a plane across x
    edge = math.sqrt((x / 2) ** 2 + (y / 2) ** 2) * z  # a bevel along z
    assert area[code_of((0, 0, 0), (0, 0, 1))] == pytest.approx(edge)
    assert area[code_of((0, 0, 0), (1, 1, 1))] == pytest.approx(2 * corner)  # touch at nothing: two pieces
    assert area[code_of((0, 0, 0), (1, 1, 0))] == pytest.approx(2 * corner)
    tripod = area[code_of((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert tripod == pytest.approx(6 * corner)  # a hexagon of six such triangles
    ell = area[code_of((0, 0, 0), (1, 0, 0), (0, 1, 0))]
    assert ell == pytest.approx(x * y / 2 + 3 * corner)  # half a face, and a trapezium of three corner triangles
    assert area[0] == area[255] == 0


@given(spacings, st.integers(0, 255))
def test_areas_do_not_depend_on_side_or_direction(spacing_mm, code):
    area = surface_areas(spacing_mm)[code]
    assert surface_areas(spacing_mm)[255 - code] == pytest.approx(area)
    inside = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
    for order, flip in product(permutations(range(3)), product((0, 1), repeat=3)):
        turned = [tuple(corner[a] ^ f for a, f in zip(order, flip, strict=True)) for corner in inside]
        turned_spacing = tuple(spacing_mm[a] for a in order)
        assert surface_areas(turned_spacing)[code_of(*turned)] == pytest.approx(area)


def test_one_voxel_moved_by_hand():
    """Elements: the 8 corners of the voxel, equal areas. Moved 3 voxels of 2 mm along y: every nearest corner is 3 - 1
    voxels away for the four near corners, 3 voxels for the far four."""
    first, second = np.zeros((2, 5, 6, 5), bool)
    first[2, 1, 2] = second[2, 4, 2] = True
    found = surface_distances(first, second, (1.0, 2.0, 4.0))
    assert found.prediction_to_truth_mm.tolist() == found.truth_to_prediction_mm.tolist() == [4.0] * 4 + [6.0] * 4
    corner = math.sqrt(8.0**2 + 4.0**2 + 2.0**2) / 8
    assert found.truth_areas_mm2 == pytest.approx([corner] * 8)
    assert hausdorff_mm(found, 100) == 6
    assert hausdorff_mm(found, 50) == 4
    assert average_symmetric_distance_mm(found) == pytest.approx(5)
    assert surface_dice(found, 3.9) == 0
    assert surface_dice(found, 4) == pytest.approx(0.5)
    assert surface_dice(found, 6) == 1


def test_tolerance_holds_in_spite_of_rounding():
    """Three voxels of 0.1 mm are 0.3 mm, though 3 * 0.1 > 0.3 in floating point."""
    first, second = np.zeros((2, 9, 3, 3), bool)
    first[1, 1, 1] = second[4, 1, 1] = True
    assert surface_dice(surface_distances(first, second, (0.1, 0.1, 0.1)), 0.3) == 1


def test_undefined_when_a_mask_is_empty():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    for pair in [(empty, empty), (empty, full), (full, empty)]:
        assert np.isnan(metrics(*pair, UNIT)).all()
        assert not surface_distances(*pair, UNIT).defined


def test_refuses_what_is_not_a_mask():
    with pytest.raises(ValueError, match="bool"):
        surface_distances(np.ones((2, 2, 2), np.uint8), np.ones((2, 2, 2), bool), UNIT)
    with pytest.raises(ValueError, match="shape"):
        surface_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), UNIT)


@settings(deadline=None)
@given(masks, spacings)
def test_identical_masks(mask, spacing_mm):
    assume(mask.any())
    assert metrics(mask, mask, spacing_mm).tolist() == pytest.approx([0, 0, 0, 1])


@settings(deadline=None)
@given(masks, masks, spacings)
def test_symmetric_and_bounded(first, second, spacing_mm):
    assume(first.any() and second.any())
    forward, backward = metrics(first, second, spacing_mm), metrics(second, first, spacing_mm)
    assert forward == pytest.approx(backward)
    hd100, hd95, assd, nsd = forward
    diagonal = np.linalg.norm(np.array(first.shape) * spacing_mm)
    assert 0 <= hd95 <= hd100 <= diagonal * (1 + 1e-6)
    assert 0 <= assd <= hd100 * (1 + 1e-6)
    assert 0 <= nsd <= 1 + 1e-12


@settings(deadline=None)
@given(masks, masks, st.tuples(*[st.integers(0, 3)] * 3), st.integers(0, 2))
def test_moving_both_or_adding_room_changes_nothing(first, second, offset, more):
    assume(first.any() and second.any())
    spacing_mm = (0.7, 1.0, 3.0)
    room = [(n, more) for n in offset]
    moved = metrics(np.pad(first, room), np.pad(second, room), spacing_mm)
    assert moved == pytest.approx(metrics(first, second, spacing_mm))


@settings(deadline=None)
@given(masks, masks, st.floats(0.1, 20))
def test_distances_grow_with_the_voxels(first, second, factor):
    assume(first.any() and second.any())
    hd100, hd95, assd, nsd = metrics(first, second, (0.7, 1.0, 3.0), 1.3)
    scaled = metrics(first, second, (0.7 * factor, 1.0 * factor, 3.0 * factor), 1.3 * factor)
    assert scaled == pytest.approx([hd100 * factor, hd95 * factor, assd * factor, nsd], rel=1e-5)


@settings(deadline=None)
@given(masks, masks, st.permutations(range(3)))
def test_the_order_of_axes_does_not_matter(first, second, order):
    assume(first.any() and second.any())
    spacing_mm = (0.7, 1.0, 3.0)
    turned = metrics(first.transpose(order), second.transpose(order), tuple(spacing_mm[a] for a in order))
    assert turned == pytest.approx(metrics(first, second, spacing_mm))


@settings(deadline=None)
@given(masks, masks, spacings)
def test_more_tolerance_is_never_worse(first, second, spacing_mm):
    assume(first.any() and second.any())
    found = surface_distances(first, second, spacing_mm)
    scores = [surface_dice(found, tolerance) for tolerance in (0, 0.5, 1, 2, 4, 100)]
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(1)


@pytest.mark.parametrize("radius", [15, 25])
def test_a_ball_has_the_area_of_a_sphere_and_nine_percent(radius):
    """The steps of a digital ball make its marching-cubes surface 1.09 times the sphere's at any radius."""
    grid = np.indices((2 * radius + 3,) * 3) - radius - 1
    ball = (grid**2).sum(axis=0) <= radius**2
    found = surface_distances(ball, ball, UNIT)
    same_volume = (3 * ball.sum() / (4 * math.pi)) ** (1 / 3)
    assert found.truth_areas_mm2.sum() / (4 * math.pi * same_volume**2) == pytest.approx(1.089, abs=0.002)
