"""What a header rounds changes no size, orientation or plan: one scan, one result, whatever file it is in."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import nibabel
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unetr.core.space.geometry import orientation_of, place
from unetr.core.space.grids import nearest_whole, significant
from unetr.core.space.volume import Affine, Volume
from unetr.prepare.planning.planner import choose_spacing

pytestmark = pytest.mark.fault("rounding at a half")

millimetres = st.integers(20, 600).map(lambda hundredths: Fraction(hundredths, 100))


@example(voxels=35, have=Fraction("2.5"), want=Fraction(1))
@example(voxels=512, have=Fraction("0.9765625"), want=Fraction(1))
@example(voxels=333, have=Fraction("0.5"), want=Fraction(1))
@example(voxels=301, have=Fraction("1.25"), want=Fraction("0.5"))
@given(voxels=st.integers(1, 1200), have=millimetres, want=millimetres)
def test_noise_never_changes_a_size(voxels: int, have: Fraction, want: Fraction) -> None:
    """Against exact arithmetic, in which a half goes up."""
    assume(voxels * have / want < 800)  # there, no other fraction of such numbers is as near to a half as noise is
    exact = (voxels * have / want + Fraction(1, 2)).__floor__()
    for noise in (0, 1e-7, -1e-7, 4e-7, -4e-7, 1e-8, -1e-8):
        assert nearest_whole(voxels * float(have) * (1 + noise) / float(want)) == exact
    assert nearest_whole(voxels * float(np.float32(float(have))) / float(want)) == exact


@given(
    voxels=st.tuples(*[st.integers(2, 12)] * 3),
    halves=st.tuples(*[st.integers(1, 9)] * 3),
    angles=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
)
def test_ties_in_float32_and_float64(
    voxels: tuple[int, int, int], halves: tuple[int, int, int], angles: tuple[float, float, float]
) -> None:
    """Oblique scans whose sizes on a 1 mm grid are halves, as NIfTI (float32, quaternion) and as text."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix() * (np.array(halves) / 2)
    header = nibabel.Nifti1Header()
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    shapes = set()
    for stored in (affine, header.get_sform(), header.get_qform(), affine.astype(np.float32).astype(np.float64)):
        volume = Volume(np.zeros((1, *voxels), np.uint8), np.asarray(stored, np.float64))
        shapes.add(place(volume, "RAS", (1.0, 1.0, 1.0), "nearest")[1].shape)
    assert len(shapes) == 1


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
def test_noise_never_changes_the_orientation_at_45_degrees(signs: tuple[int, ...], axis: list[int]) -> None:
    angle = np.pi / 3 if sum(axis) == 3 else np.pi / 4
    turn = Rotation.from_rotvec(np.array(axis) / np.linalg.norm(axis) * angle).as_matrix()
    rng = np.random.default_rng(0)

    def noisy() -> Affine:
        affine = np.eye(4)
        affine[:3, :3] = turn * signs * (1 + 1e-7 * rng.normal(size=(3, 3)))
        return affine

    assert len({orientation_of(noisy()) for _ in range(40)}) == 1


def test_noise_never_changes_the_planned_spacing() -> None:
    rng = np.random.default_rng(1)
    for spacing in ((1.0, 1.0, 3.0), (0.9765625, 0.9765625, 2.9296875), (0.48828125, 0.5, 1.5), (0.3, 0.3, 0.9)):
        plans = set()
        for _ in range(40):
            noise = 1 + 1e-7 * rng.uniform(-1, 1, (7, 3))
            plans.add(choose_spacing([tuple(row) for row in (np.array(spacing) * noise).tolist()]))
        assert len(plans) == 1


def test_significant_digits() -> None:
    assert [significant(value, 4) for value in (1.23449, 1.2345, 1.2344999, 9.99996, 0.001, 3.0)] == [
        1.234, 1.235, 1.235, 10.0, 0.001, 3.0,
    ]  # fmt: skip
