"""Which affine counts, when two count as the same, and what the flags allow: by hand and against nibabel."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unetr.core.space.grids import grid_tolerance_mm, same_grid
from unetr.core.space.volume import Volume, grid_distance_mm
from unetr.errors import InputError
from unetr.io import check_same_grid, read_label, read_volume, write_volume


def shifted(volume: Volume, mm: float) -> Volume:
    affine = volume.affine.copy()
    affine[0, 3] += mm
    return Volume(volume.data, affine)


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_a_missing_affine_can_be_assumed(malformed: ModuleType, name: str, tmp_path: Path) -> None:
    data = malformed.voxels(np.random.default_rng(0))
    raw = data.tobytes(order="F")
    content = {
        "a.nii": malformed.nifti(data, (252, "2h", (0, 0))),
        "a.nrrd": malformed.nrrd(raw, space=None),
        "a.mha": malformed.mha(raw, TransformMatrix=None, Offset=None),
    }[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match="no affine") as refused:
        read_volume(path)
    assert refused.value.hint == "assume_affine"
    volume = read_volume(path, assume_affine=True)
    assert np.array_equal(volume.affine, np.diag([1, 1.5, 2, 1]))
    # What is written from it says that the place is known only relative to other files.
    write_volume(tmp_path / "out.nii.gz", volume)
    written = read_volume(tmp_path / "out.nii.gz")
    if name == "a.nii":
        assert (written.qform_code, written.sform_code) == (2, 2)
    assert np.array_equal(written.affine, volume.affine)


def test_rounding_of_the_quaternion_is_no_disagreement(tmp_path: Path) -> None:
    """Scans in LPS, tilted a little, are where NIfTI's quaternion is coarsest; half a degree more is refused."""
    rng = np.random.default_rng(0)
    shape, worst, path = (512, 3, 2), 0.0, tmp_path / "scan.nii"
    for tilt in 10.0 ** rng.uniform(-6, -1, 100):
        rotation = Rotation.from_rotvec(rng.normal(size=3) * tilt).as_matrix() @ np.diag([-1.0, -1.0, 1.0])
        affine = np.eye(4)
        affine[:3] = rotation @ np.hstack([np.diag([0.7, 0.7, 1.0]), [[-180], [-170], [40]]])
        image = nibabel.Nifti1Image(np.ones(shape, np.uint8), affine)
        for sform_code in (1, 0):
            image.set_qform(affine, 1)
            image.set_sform(affine, sform_code)
            nibabel.save(image, path)
            found = read_volume(path).affine
            distance = grid_distance_mm(found, affine, shape)
            worst = max(worst, distance)
            assert distance < 1e-3 if sform_code else same_grid(found, affine, shape)
        turned = affine.copy()
        turned[:3, :3] = Rotation.from_rotvec([0, 0, 0.01]).as_matrix() @ affine[:3, :3]
        image.set_sform(turned, 1)
        nibabel.save(image, path)
        with pytest.raises(InputError, match="sform and qform place the scan"):
            read_volume(path)
    assert worst > 0.05, "the quaternion is finer than thought, and the tolerance too generous"


def test_grids_of_two_files(oblique: Volume) -> None:
    image, label = Path("image.nii.gz"), Path("label.nii.gz")
    check_same_grid(oblique, shifted(oblique, 0.0009), image, label)
    with pytest.raises(InputError, match=r"^label.nii.gz: .* 0\.002 mm from where image.nii.gz"):
        check_same_grid(oblique, shifted(oblique, 0.002), image, label)
    smaller = Volume(oblique.data[:, 1:], oblique.affine)
    with pytest.raises(InputError, match=r"label.nii.gz: has 6×6×5 voxels, image.nii.gz has 7×6×5"):
        check_same_grid(oblique, smaller, image, label)


def test_the_same_grid_in_float32_and_float64_is_the_same(oblique: Volume) -> None:
    shape = (512, 512, 600)
    rounded = oblique.affine.astype(np.float32).astype(np.float64)
    assert 0 < grid_distance_mm(rounded, oblique.affine, shape) < grid_tolerance_mm(oblique.affine, shape) < 0.02


@pytest.mark.parametrize("off", [0.0, 9e-4, -9e-4])
def test_float_labels_within_a_thousandth_are_integers(off: float, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 3, (1, 4, 4, 4))
    path = tmp_path / "label.nii.gz"
    write_volume(path, Volume((data + off).astype(np.float32), np.eye(4)))
    label = read_label(path, {0, 1, 2})
    assert label.data.dtype == np.uint8 and np.array_equal(label.data, data)


def test_unknown_and_negative_labels_are_listed_with_their_voxels(tmp_path: Path) -> None:
    data = np.zeros((1, 4, 4, 4), np.int16)
    data[0, 0, 0] = (7, 7, 9, 1)
    path = tmp_path / "label.nrrd"
    write_volume(path, Volume(data, np.eye(4)))
    with pytest.raises(InputError, match=r"unknown label values 7 \(2 voxels\), 9 \(1 voxel\); expected 0, 1"):
        read_label(path, {0, 1})
    assert read_label(path).data.dtype == np.uint8
    data[0, 1] = -3
    write_volume(path, Volume(data, np.eye(4)))
    with pytest.raises(InputError, match=r"negative label values -3 \(16 voxels\)"):
        read_label(path)
    data = np.arange(1000, dtype=np.int16).reshape(1, 10, 10, 10)
    write_volume(path, Volume(data, np.eye(4)))
    with pytest.raises(InputError, match=r"11 \(1 voxel\) and 988 more; expected 0, 1"):
        read_label(path, {0, 1})


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, -5.0), (0.5, 0.0), (1.0, 3.0), (1e-3, 1e4)])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_scaled_voxels_are_float32(
    malformed: ModuleType, slope: float, intercept: float, dtype: type, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).integers(0, 200, (7, 6, 5)).astype(dtype)
    path = tmp_path / "scaled.nii"
    path.write_bytes(malformed.nifti(data, (112, "2f", (slope, intercept))))
    found = read_volume(path).data
    assert found.dtype == np.float32
    exact = data.astype(np.float64) * np.float32(slope).astype(np.float64) + np.float32(intercept).astype(np.float64)
    assert np.array_equal(found[0], exact.astype(np.float32))
    assert np.allclose(found[0], nibabel.load(path).get_fdata(), rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, float("nan"), 1.0])
def test_no_scaling_keeps_the_type(malformed: ModuleType, slope: float, tmp_path: Path) -> None:
    path = tmp_path / "unscaled.nii"
    path.write_bytes(malformed.nifti(malformed.voxels(np.random.default_rng(0)), (112, "2f", (slope, 0))))
    assert read_volume(path).data.dtype == np.int16


def test_scaled_labels_may_be_whole(malformed: ModuleType, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 3, (7, 6, 5), dtype=np.uint8)
    path = tmp_path / "label.nii"
    path.write_bytes(malformed.nifti(data, (112, "2f", (2, 0))))
    assert np.array_equal(read_label(path, {0, 2, 4}).data[0], 2 * data)


SPACES = {
    "right-anterior-superior": (1, 1, 1), "RAS": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "LAS": (-1, 1, 1),
    "Left-Posterior-Superior": (-1, -1, 1), "LPS": (-1, -1, 1),
}  # fmt: skip


@pytest.mark.parametrize(("space", "signs"), SPACES.items())
def test_nrrd_spaces(malformed: ModuleType, space: str, signs: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(malformed.nrrd(malformed.voxels(np.random.default_rng(0)).tobytes(order="F"), space=space))
    expected = np.diag([*signs, 1.0]) @ [[1, 0, 0, 10], [0, 1.5, 0, 20], [0, 0, 2, 5], [0, 0, 0, 1]]
    assert np.array_equal(read_volume(path).affine, expected)
