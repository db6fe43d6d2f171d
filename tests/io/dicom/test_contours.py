"""Outlines of masks: filled again by matplotlib's point-in-polygon test they are the masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from scipy.ndimage import label

from unetr.io.dicom.results.contours import mask_contours

Mask = NDArray[np.bool_]


def filled(points: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    rows, columns = np.indices(shape)
    inside = Polygon(points, closed=False).contains_points(np.column_stack([columns.ravel(), rows.ravel()]))
    return np.asarray(inside.reshape(shape))


def check(mask: Mask) -> list[NDArray[np.float64]]:
    contours = mask_contours(mask)
    pieces, count = label(mask)  # four neighbours
    found = [filled(points, mask.shape) for points in contours]
    assert len(contours) == count
    wanted = {(pieces == piece).tobytes() for piece in range(1, count + 1)}
    assert {each.tobytes() for each in found} == wanted
    for points in contours:
        assert len(points) >= 3 and np.isfinite(points).all()
        assert (points != np.roll(points, 1, axis=0)).any(axis=1).all(), "the same point twice in a row"
    return contours


@settings(deadline=None, max_examples=300)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_every_piece_is_one_polygon(mask: Mask) -> None:
    check(mask)


@pytest.mark.parametrize("density", [0.3, 0.5, 0.6, 0.8, 0.95])
def test_noise_has_many_holes(density: float) -> None:
    check(np.random.default_rng(7).random((40, 50)) < density)


def test_shapes() -> None:
    assert check(np.zeros((4, 5), bool)) == []
    assert len(check(np.ones((4, 5), bool))[0]) == 8  # a rectangle with cut corners
    assert len(check(np.eye(6, dtype=bool))) == 6  # touching at corners
    rings = np.zeros((15, 15), bool)
    for width in (1, 5):
        rings[width:-width, width:-width] = True
        rings[width + 1 : -width - 1, width + 1 : -width - 1] = False
    assert len(check(rings)) == 2
    comb = np.ones((9, 30), bool)
    comb[1:-1, 1::2] = False  # holes in a row: each channel ends at the hole before
    comb[1:-1, -1] = True
    assert len(check(comb)) == 1


def test_the_area_is_that_of_the_mask() -> None:
    rows, columns = np.indices((100, 100))
    radius = np.hypot(rows - 50, columns - 50)
    mask = (radius < 40) & (radius > 15)
    (points,) = check(mask)
    x, y = points.T
    assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == pytest.approx(mask.sum(), rel=0.01)
