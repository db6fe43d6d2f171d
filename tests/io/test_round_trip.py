"""What is written reads back the same, here and by nibabel and SimpleITK, and what they write reads the same here."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unetr.core.space.volume import GRID_TOLERANCE_MM, Affine, Volume, grid_distance_mm
from unetr.errors import InputError
from unetr.io import FORMATS, case_name, check_same_grid, is_scan, read_label, read_volume, scan_suffix, write_volume

SUFFIXES = list(FORMATS)
STORED_AS = {
    "bool": "uint8", "uint8": "uint8", "int8": "int8", "int16": "int16", "uint16": "uint16", "int32": "int32",
    "uint32": "uint32", "float16": "float32", "float32": "float32", "float64": "float32", ">i2": "int16",
    ">f4": "float32",
}  # fmt: skip
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

signed_axes = st.sampled_from(
    [np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
)
affines = st.builds(
    lambda axes, spacing, angles, offset: compose(
        Rotation.from_euler("xyz", angles).as_matrix() @ axes.T * spacing, offset
    ),
    signed_axes,
    st.tuples(*[st.sampled_from([0.3, 0.6875, 1.0, 1.1, 6.5])] * 3),
    st.one_of(st.just((0, 0, 0)), st.tuples(*[st.floats(-0.8, 0.8)] * 3)),
    st.tuples(*[st.floats(-500, 500)] * 3),
)


def compose(matrix: np.ndarray, offset: tuple[float, ...]) -> Affine:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = offset
    return affine


def itk_affine(image: SimpleITK.Image) -> Affine:
    """Voxel index -> RAS mm, from ITK's origin, spacing and direction, which are LPS."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return LPS @ compose(direction * image.GetSpacing(), image.GetOrigin())


def itk_data(image: SimpleITK.Image) -> np.ndarray:
    """[C, X, Y, Z]"""
    array = SimpleITK.GetArrayFromImage(image)
    return array.T if array.ndim == 4 else array.T[None]


def itk_image(volume: Volume) -> SimpleITK.Image:
    vector = volume.data.shape[0] > 1
    image = SimpleITK.GetImageFromArray(volume.data.T if vector else volume.data[0].T, isVector=vector)
    lps = LPS @ volume.affine
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing_mm).ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", STORED_AS)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_number_types_and_channels(suffix: str, dtype: str, channels: int, oblique: Volume, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 100, (channels, *oblique.shape))
    data = (data % 2 if dtype == "bool" else data).astype(dtype)
    path = tmp_path / f"case{suffix}"
    write_volume(path, oblique.with_data(data))
    found = read_volume(path)
    assert found.data.dtype == np.dtype(STORED_AS[dtype])
    assert np.array_equal(found.data, data)
    assert grid_distance_mm(found.affine, oblique.affine, oblique.shape) < GRID_TOLERANCE_MM
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("low", "high", "stored"),
    [
        (0, 255, "uint8"), (0, 256, "int16"), (-1, 255, "int16"), (0, 65535, "uint16"), (-1, 65535, "int32"),
        (0, 2**32 - 1, "uint32"), (-1, 2**40, "int64"),
    ],
)  # fmt: skip
def test_64_bit_integers_become_the_smallest_type(
    suffix: str, low: int, high: int, stored: str, tmp_path: Path
) -> None:
    data = np.full((1, 2, 3, 4), low, np.int64)
    data[0, 1, 2, 3] = high
    path = tmp_path / f"case{suffix}"
    write_volume(path, Volume(data, np.eye(4)))
    found = read_volume(path).data
    assert found.dtype == np.dtype(stored) and np.array_equal(found, data)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(affine=affines, shape=st.tuples(*[st.integers(2, 6)] * 3), suffix=st.sampled_from(SUFFIXES))
def test_every_affine_survives_and_others_agree(affine: Affine, shape: tuple, suffix: str, tmp_path: Path) -> None:
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    # One folder per suffix: asked for case.nii.gz, SimpleITK 2.5 reads the voxels of a case.nii beside it.
    path = tmp_path / f"of {suffix}" / f"é and space{suffix}"
    write_volume(path, Volume(data, affine))
    found = read_volume(path)
    assert np.array_equal(found.data, data)
    assert grid_distance_mm(found.affine, affine, shape) < GRID_TOLERANCE_MM
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(itk_data(image), data)
    # ITK may take the qform, whose quaternion is coarse near half turns (see checks.py).
    assert grid_distance_mm(itk_affine(image), affine, shape) < 1e-2
    if "nii" in suffix:
        other = nibabel.load(path)
        assert np.array_equal(np.asarray(other.dataobj), data[0])
        assert np.array_equal(other.affine, found.affine)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    affine=affines,
    suffix=st.sampled_from(SUFFIXES),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8"]),
    packed=st.booleans(),
)
def test_what_simpleitk_writes(affine: Affine, suffix: str, dtype: str, packed: bool, tmp_path: Path) -> None:
    data = np.arange(60).reshape(1, 5, 4, 3).astype(dtype)
    image = itk_image(Volume(data, affine))
    path = tmp_path / f"é and space{suffix}"
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    found = read_volume(path)
    assert found.data.dtype == data.dtype
    assert np.array_equal(found.data, data)
    assert grid_distance_mm(found.affine, affine, found.shape) < GRID_TOLERANCE_MM


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    affine=affines,
    version=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
    order=st.sampled_from("<>"),
    codes=st.sampled_from([(1, 1), (0, 2), (1, 0), (4, 3)]),
    dtype=st.sampled_from(["u1", "i1", "i2", "u4", "i8", "f4", "f8"]),
    channels=st.sampled_from([None, 1, 3]),
)
def test_what_nibabel_writes(
    affine: Affine, version: type, order: str, codes: tuple, dtype: str, channels: int | None, tmp_path: Path
) -> None:
    shape = (5, 4, 3) if channels is None else (5, 4, 3, channels)
    data = np.arange(np.prod(shape)).reshape(shape).astype(f"{order}{dtype}")
    other_kind = nibabel.Nifti1Header if version is nibabel.Nifti1Image else nibabel.Nifti2Header
    image = version(data, affine, other_kind(endianness=order), dtype=data.dtype)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    path = tmp_path / "case.nii.gz"
    nibabel.save(image, path)
    found = read_volume(path)
    assert found.data.dtype == np.dtype(dtype)
    assert np.array_equal(found.data, data[None] if channels is None else np.moveaxis(data, 3, 0))
    assert (found.qform_code, found.sform_code) == codes
    # nibabel takes a small real part of the quaternion for 0, which moves what has no sform.
    other = nibabel.load(path).affine
    assert grid_distance_mm(found.affine, other, found.shape) <= (0 if codes[1] else 1e-1)
    assert grid_distance_mm(found.affine, affine, found.shape) < (GRID_TOLERANCE_MM if codes[1] else 3e-2)
    # Written again, as NIfTI-1, the codes and the place stay; where float32 is too coarse for a lone qform of NIfTI-2,
    # the sform joins it.
    write_volume(tmp_path / "again.nii", found)
    again = read_volume(tmp_path / "again.nii")
    joins = version is nibabel.Nifti2Image and codes == (1, 0)
    assert (again.qform_code, again.sform_code) in ([codes, (1, 1)] if joins else [codes])
    check_same_grid(found, again, path, path)


def test_files_of_one_name_are_not_mixed_up(oblique: Volume, tmp_path: Path) -> None:
    for number, suffix in enumerate(SUFFIXES):
        write_volume(tmp_path / f"case{suffix}", oblique.with_data(oblique.data + number))
    for number, suffix in enumerate(SUFFIXES):
        assert np.array_equal(read_volume(tmp_path / f"case{suffix}").data, oblique.data + number)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_vectors_of_simpleitk_are_channels(suffix: str, channels: int, oblique: Volume, tmp_path: Path) -> None:
    volume = oblique.with_data(np.random.default_rng(0).normal(size=(channels, *oblique.shape)).astype(np.float32))
    SimpleITK.WriteImage(itk_image(volume), str(tmp_path / f"theirs{suffix}"))
    write_volume(tmp_path / f"ours{suffix}", volume)
    for name in ("theirs", "ours"):
        assert np.array_equal(read_volume(tmp_path / f"{name}{suffix}").data, volume.data)
        assert np.array_equal(itk_data(SimpleITK.ReadImage(str(tmp_path / f"{name}{suffix}"))), volume.data)


NAMES = {0: "background", 1: 'left "atrium"', 2: "Vorhof \\ größe ☃", 300: "x" * 500}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_label_names_are_kept_and_disturb_nobody(suffix: str, oblique: Volume, tmp_path: Path) -> None:
    path = tmp_path / f"label{suffix}"
    labels = Volume(np.ones((1, 3, 3, 3), np.uint8), np.eye(4), label_names=NAMES)
    write_volume(path, labels)
    assert read_label(path).label_names == NAMES
    assert np.array_equal(itk_data(SimpleITK.ReadImage(str(path))), labels.data)
    write_volume(path, oblique)
    assert read_volume(path).label_names == {}


def test_foreign_and_broken_header_extensions_are_ignored(tmp_path: Path) -> None:
    contents = [
        b"any comment",
        b'{"unetr_label_names": [1]}',
        b'{"unetr_label_names": {"a": "b"}}',
        b'{"unetr_label_names": {',
        b'{"unetr_label_names": {"1": 2}}',
        b"\xff unetr_label_names",
        b'"unetr_label_names"',
        b"[" * 10000 + b"unetr_label_names",
    ]
    for number, content in enumerate(contents):
        image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(4, b"<xml/>"))
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, content))
        path = tmp_path / f"{number}.nii.gz"
        nibabel.save(image, path)
        assert read_volume(path).label_names == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_volume_gives_the_same_bytes(suffix: str, oblique: Volume, tmp_path: Path) -> None:
    names = [tmp_path / f"first{suffix}", tmp_path / f"second name{suffix}"]
    write_volume(names[0], oblique)
    write_volume(names[1], oblique.with_data(np.ascontiguousarray(oblique.data[:, ::-1])[:, ::-1]))
    content = names[0].read_bytes()
    assert content == names[1].read_bytes()
    if suffix == ".nii.gz":
        assert content[3] == 0 and content[4:8] == bytes(4)  # no name, no time


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shear_is_kept_once_accepted(suffix: str, tmp_path: Path) -> None:
    affine = compose(np.array([[1, 0.1, 0], [0, 1, 0], [0, 0, 2]]), (5, 6, 7))
    path = tmp_path / f"sheared{suffix}"
    write_volume(path, Volume(np.ones((1, 4, 4, 4), np.uint8), affine))
    with pytest.raises(InputError, match="sheared") as refused:
        read_volume(path)
    assert refused.value.hint == "accept_shear"
    assert np.allclose(read_volume(path, accept_shear=True).affine, affine, atol=1e-6)


def test_names(tmp_path: Path) -> None:
    assert scan_suffix(Path("a/b.v2.NII.GZ")) == ".nii.gz"
    assert case_name(Path("a/b.v2.NII.GZ")) == "b.v2"
    assert scan_suffix(Path("b.nii")) == ".nii" and case_name(Path("é ü.mha")) == "é ü"
    assert is_scan(Path("x.nrrd")) and not is_scan(Path(".x.nrrd")) and not is_scan(Path("x.gz"))
    for name in ("x.gz", "x.hdr", "nii", ".nii.gz"):
        with pytest.raises(InputError, match=r"\.nii\.gz, \.nii, \.nrrd, \.mha"):
            scan_suffix(Path(name))


def test_importing_io_imports_no_image_library() -> None:
    code = "import sys, unetr.io; print([m for m in ('nibabel', 'SimpleITK', 'torch', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_real_scans_read_as_nibabel_reads_them(shared_data: Path) -> None:
    folder = shared_data / "Task04_Hippocampus"
    paths = sorted((folder / "imagesTr").glob("h*.nii.gz"))[:20] + sorted((shared_data / "ct").glob("*_3mm.nii.gz"))
    assert len(paths) == 22
    for path in paths:
        volume, other = read_volume(path), nibabel.load(path)
        assert np.array_equal(volume.data[0], np.asarray(other.dataobj))
        assert np.array_equal(volume.affine, other.affine)
        label = folder / "labelsTr" / path.name
        if label.is_file():
            check_same_grid(volume, read_label(label, {0, 1, 2}), path, label)
