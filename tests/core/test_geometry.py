"""Placement geometry against closed forms, scipy and round trips, over all 48 axis orientations."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unetr.core.space.geometry import axis_kernel, orientation_of, place, resample, restore
from unetr.core.space.volume import Affine, Volume, grid_distance_mm

OPPOSITE = {"R": "L", "A": "P", "S": "I"}
WORLD_AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
ORIENTATIONS = [
    "".join(letter if keep else OPPOSITE[letter] for letter, keep in zip(order, signs, strict=True))
    for order in permutations("RAS")
    for signs in product((True, False), repeat=3)
]
DIRECTION = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}

spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.37, 2.5, 5.0])] * 3)
shapes = st.tuples(*[st.integers(2, 9)] * 3)
# Up to 20 degrees: an oblique scan that keeps its letters.
tilts = st.tuples(*[st.floats(-20, 20)] * 3).map(lambda angles: Rotation.from_euler("xyz", angles, degrees=True))
orientations = st.sampled_from(ORIENTATIONS)


def affine_of(orientation: str, spacing: tuple[float, ...], tilt: Rotation | None = None) -> Affine:
    affine = np.eye(4)
    affine[:3, :3] = np.array([DIRECTION[letter] for letter in orientation], dtype=float).T * spacing
    affine[:3, 3] = (-12.5, 30.0, 7.25)
    if tilt is not None:
        affine[:3] = tilt.as_matrix() @ affine[:3]
    return affine


def centres_mm(affine: Affine, shape: tuple[int, ...]) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def outer_edges_mm(affine: Affine, shape: tuple[int, ...]) -> np.ndarray:
    corners = np.array(list(product(*[(-0.5, n - 0.5) for n in shape])))
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    return world[np.lexsort(np.round(world, 6).T)]


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_is_read_off_the_affine(orientation: str) -> None:
    tilt = Rotation.from_euler("xyz", (8, -11, 17), degrees=True)
    assert orientation_of(affine_of(orientation, (0.7, 1.0, 6.0))) == orientation
    assert orientation_of(affine_of(orientation, (0.7, 1.0, 6.0), tilt)) == orientation


def test_orientation_at_45_degrees_has_three_letters() -> None:
    affine = affine_of("RAS", (1, 1, 1), Rotation.from_euler("z", 45, degrees=True))
    assert sorted(WORLD_AXIS[letter] for letter in orientation_of(affine)) == [0, 1, 2]


def test_place_by_hand() -> None:
    """2x1x3 voxels in LPS, sought in RAS: both first axes turn round, and voxel (0, 0) was last."""
    data = np.arange(6, dtype=np.int16).reshape(1, 2, 1, 3)
    volume = Volume(data, np.diag([-2.0, -3.0, 4.0, 1.0]))
    placed, placement = place(volume, "RAS", (2, 3, 4), "nearest")
    assert placed.data[0, :, 0].tolist() == [[3, 4, 5], [0, 1, 2]]
    assert placed.affine[:3].tolist() == [[2, 0, 0, -2], [0, 3, 0, 0], [0, 0, 4, 0]]
    assert (placement.axes, placement.flips) == ((0, 1, 2), (True, True, False))


@pytest.mark.parametrize("source", ORIENTATIONS)
def test_turning_and_back_is_exact(source: str) -> None:
    rng = np.random.default_rng(ORIENTATIONS.index(source))
    volume = Volume(rng.integers(0, 255, (2, 4, 5, 6), dtype=np.uint8), affine_of(source, (0.7, 1.3, 4.0)))
    for target in ORIENTATIONS:
        spacing_of_world = dict(zip((WORLD_AXIS[letter] for letter in source), (0.7, 1.3, 4.0), strict=True))
        spacing = tuple(spacing_of_world[WORLD_AXIS[letter]] for letter in target)
        placed, placement = place(volume, target, spacing, "linear")
        assert orientation_of(placed.affine) == target
        assert placed.data.dtype == np.uint8
        assert np.array_equal(restore(placed.data, placement, "linear"), volume.data)


@settings(max_examples=150, deadline=None)
@given(orientations, orientations, spacings, spacings, shapes, tilts)
def test_outer_edges_stay_where_they_are(
    source: str, target: str, have: tuple, want: tuple, shape: tuple, tilt: Rotation
) -> None:
    volume = Volume(np.zeros((1, *shape), np.float32), affine_of(source, have, tilt))
    placed, placement = place(volume, target, want, "linear")
    assert placement.shape == placed.shape
    assert np.array_equal(placement.affine, placed.affine)
    before, after = outer_edges_mm(volume.affine, shape), outer_edges_mm(placed.affine, placed.shape)
    assert np.allclose(before, after, atol=1e-9)
    assert orientation_of(placed.affine) == target
    # The shape is the nearest whole one.
    for n, step, wanted in zip(placed.shape, placed.spacing_mm, want, strict=True):
        assert n == 1 or abs(n * step / wanted - n) <= 0.5 + 1e-9


@settings(max_examples=100, deadline=None)
@given(orientations, orientations, spacings, spacings, shapes, st.sampled_from(["nearest", "linear", "cubic"]))
def test_a_constant_stays_constant(
    source: str, target: str, have: tuple, want: tuple, shape: tuple, kernel: str
) -> None:
    volume = Volume(np.full((1, *shape), 37, np.int16), affine_of(source, have))
    placed, placement = place(volume, target, want, kernel)
    assert np.allclose(placed.data, 37, atol=1e-4)
    back = restore(placed.data, placement, kernel)
    assert back.shape == volume.data.shape
    assert np.allclose(back, 37, atol=1e-4)


@settings(max_examples=100, deadline=None)
@given(orientations, orientations, spacings, tilts, st.sampled_from(["linear", "cubic"]))
def test_a_linear_field_of_the_world_is_the_same_field_on_the_new_grid(
    source: str, target: str, want: tuple, tilt: Rotation, kernel: str
) -> None:
    affine, shape = affine_of(source, (0.9, 1.2, 2.0), tilt), (12, 11, 10)
    slope, offset = np.array([0.3, -0.7, 0.5]), 4.0
    volume = Volume((centres_mm(affine, shape) @ slope + offset)[None].astype(np.float32), affine)
    crop = ((1, 10), (0, 9), (2, 10))
    placed, placement = place(volume, target, want, kernel, crop)
    centres = centres_mm(placed.affine, placed.shape)
    # Where the kernel reaches beyond the crop, the edge is held and the field bends.
    reach = 2 if kernel == "cubic" else 1
    oriented_shape = [high - low for low, high in crop]
    inside = [
        slice(*np.flatnonzero((centre >= reach - 1) & (centre <= n - reach))[[0, -1]] + [0, 1])
        for n, m in zip(oriented_shape, placed.shape, strict=True)
        for centre in [(np.arange(m) + 0.5) * n / m - 0.5]
    ]
    expected = (centres @ slope + offset)[*inside]
    assert expected.size
    assert np.allclose(placed.data[0][*inside], expected, atol=2e-4)
    assert np.array_equal(placement.source_affine, affine)


def test_crop_is_put_back_with_what_is_outside() -> None:
    data = np.arange(2 * 4 * 5 * 6, dtype=np.float32).reshape(2, 4, 5, 6)
    volume = Volume(data, affine_of("PIL", (1, 2, 3)))
    # Oriented RAS: R is source axis 2 backwards, A is axis 0 backwards, S is axis 1 backwards.
    placed, placement = place(volume, "RAS", (3, 1, 2), "linear", crop=((1, 4), (0, 3), (2, 5)))
    assert placed.shape == (3, 3, 3)
    assert placed.data[0, 0, 0, 0] == data[0, 3, 2, 4]
    assert np.allclose(placed.affine @ [0, 0, 0, 1], volume.affine @ [3, 2, 4, 1])
    back = restore(placed.data, placement, "linear", outside=[-1, -2])
    kept = (slice(1, 4), slice(0, 3), slice(2, 5))
    assert np.array_equal(back[:, *kept], data[:, *kept])
    mask = np.ones((4, 5, 6), bool)
    mask[kept] = False
    assert set(back[0][mask]) == {-1} and set(back[1][mask]) == {-2}


def test_restore_refuses_another_shape() -> None:
    placed, placement = place(Volume(np.zeros((1, 4, 4, 4)), np.eye(4)), "RAS", (2, 2, 2), "linear")
    assert placed.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="placement"):
        restore(np.zeros((1, 4, 4, 4)), placement, "linear")


@pytest.mark.parametrize("shape", [(5, 7, 9), (14, 3, 8), (20, 22, 4), (7, 8, 5)])
def test_linear_equals_scipy(shape: tuple[int, int, int]) -> None:
    data = np.random.default_rng(1).normal(size=(1, 7, 8, 9)).astype(np.float32)
    factors = [m / n for m, n in zip(shape, data.shape[1:], strict=True)]
    expected = scipy.ndimage.zoom(data[0].astype(float), factors, order=1, grid_mode=True, mode="nearest")
    assert np.allclose(resample(data, shape, "linear")[0], expected, atol=1e-5)


@pytest.mark.parametrize(("n", "m"), [(7, 5), (7, 13), (9, 4), (8, 20), (30, 7), (5, 5), (6, 3)])
def test_nearest_equals_scipy_away_from_ties(n: int, m: int) -> None:
    data = np.random.default_rng(2).permutation(n).astype(np.int32)
    expected = scipy.ndimage.zoom(data, m / n, order=0, grid_mode=True, mode="nearest")
    found = resample(data.reshape(1, n, 1, 1), (m, 1, 1), "nearest").ravel()
    # (2i + 1) n / 2m whole: the centre is halfway between two voxels.
    tie = ((2 * np.arange(m) + 1) * n) % (2 * m) == 0
    assert np.array_equal(found[~tie], expected[~tie])
    assert (~tie).any() or (n, m) == (6, 3)
    if (n, m) == (6, 3):  # every centre is a tie: the lower voxel
        assert np.array_equal(found, data[[0, 2, 4]])


def test_cubic_weights_by_hand() -> None:
    """Keys 1981 with a = -1/2 halfway between voxels: -1/16, 9/16, 9/16, -1/16; doubling a grid meets 1/4 and 3/4."""
    index, weight = axis_kernel(8, 4, "cubic")
    assert index[1].tolist() == [1, 2, 3, 4]
    assert weight[1].tolist() == [-1 / 16, 9 / 16, 9 / 16, -1 / 16]
    index, weight = axis_kernel(4, 8, "cubic")
    # Target 3 is at 1.25: distances 1.25, 0.25, 0.75, 1.75.
    assert index[3].tolist() == [0, 1, 2, 3]
    assert weight[3].tolist() == [-9 / 128, 111 / 128, 29 / 128, -3 / 128]


@pytest.mark.parametrize(("n", "m"), [(10, 25), (10, 7), (9, 18), (16, 5)])
def test_cubic_reproduces_quadratics_inside(n: int, m: int) -> None:
    """Keys' kernel has third-order convergence: exact for polynomials up to degree 2."""
    x = np.arange(n)
    data = (0.5 * x**2 - 3 * x + 2).astype(np.float32).reshape(1, 1, n, 1)
    centre = (np.arange(m) + 0.5) * n / m - 0.5
    inside = (centre >= 1) & (centre <= n - 2)
    found = resample(data, (1, m, 1), "cubic").ravel()
    assert inside.any()
    assert np.allclose(found[inside], (0.5 * centre**2 - 3 * centre + 2)[inside], atol=1e-4)


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_beyond_the_outer_voxel_centres_the_edge_is_held(kernel: str) -> None:
    data = np.array([3, 8, -2, 5], np.float32).reshape(1, 4, 1, 1)
    # Centres at -0.375, -0.125, 0.125 ... : the first and last two lie outside.
    found = resample(data, (16, 1, 1), kernel).ravel()
    assert found[:2].tolist() == [3, 3] and found[-2:].tolist() == [5, 5]
    assert found[2] != 3 and found[-3] != 5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["nearest", "linear", "cubic"]))
def test_kernels_sum_to_one_and_stay_inside(n: int, m: int, kernel: str) -> None:
    index, weight = axis_kernel(n, m, kernel)
    assert index.shape == weight.shape and len(index) == m
    assert index.min() >= 0 and index.max() < n
    assert np.allclose(weight.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("source", ORIENTATIONS)
@pytest.mark.parametrize("want", [(1.0, 1.0, 1.0), (0.6, 1.4, 2.0)])
def test_restored_labels_overlap(source: str, want: tuple[float, float, float]) -> None:
    shape = (28, 24, 12)
    affine = affine_of(source, (0.9, 1.1, 2.2))
    middle = centres_mm(affine, shape).reshape(-1, 3).mean(axis=0)
    ball = (np.linalg.norm(centres_mm(affine, shape) - middle, axis=-1) < 9).astype(np.uint8)[None]
    placed, placement = place(Volume(ball, affine), "RAS", want, "nearest")
    back = restore(placed.data, placement, "nearest")
    assert back.dtype == np.uint8 and back.shape == ball.shape
    # A grid of at most 2 mm moves the surface of a 9 mm ball by at most half a voxel.
    assert 2 * (back & ball).sum() / (int(back.sum()) + int(ball.sum())) > 0.9


def test_grid_distance_is_the_worst_corner() -> None:
    """A turn by 0.01 rad about voxel 0: the far corner of a 101 mm axis moves by a chord of 2·100·sin(0.005) mm."""
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 0.01).as_matrix()
    assert grid_distance_mm(np.eye(4), turned, (101, 1, 1)) == pytest.approx(200 * np.sin(0.005))
