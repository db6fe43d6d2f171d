"""DICOM in: voxels and geometry against SimpleITK and what was written; channels, enhanced, compressed, zips."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.systems import LINKS

from unetr.errors import MachineError
from unetr.io.dicom.volume import is_dicom, list_series, read_dicom


def voxels(dtype: str = "int16", shape: tuple[int, ...] = (9, 8, 6), seed: int = 0) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def by_simpleitk(folder: Path) -> tuple[Any, Any]:
    """[X, Y, Z] and the RAS affine, sorted by GDCM."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def zipped(folder: Path, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"study/{file.relative_to(folder)}")
    return path


REAL = ["hippocampus_crop_T1", "brain_T1post", "brain_T1pre", "brain_FLAIR", "brain_T2"]
ORIENTATIONS = ["axial", "sagittal", "coronal", "oblique", ((0, 0, 1), (1, 0, 0)), ((-1, 0, 0), (0, -1, 0))]


@pytest.mark.parametrize("name", REAL)
def test_real_series_is_what_simpleitk_reads(shared_data: Path, name: str) -> None:
    found = read_dicom(shared_data / "dicom" / name)
    data, affine = by_simpleitk(shared_data / "dicom" / name)
    assert found.data.dtype == data.dtype
    np.testing.assert_array_equal(found.data[0], data)
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)


@LINKS
def test_real_series_of_one_study_are_channels(shared_data: Path, tmp_path: Path) -> None:
    folders = [shared_data / "dicom" / name for name in ("brain_T2", "brain_T1post")]
    for folder in folders:
        (tmp_path / folder.name).mkdir()
        for file in folder.iterdir():
            (tmp_path / folder.name / file.name).symlink_to(file)
    uids = [list_series(folder)[0].uid for folder in folders]
    found = read_dicom(tmp_path, uids)
    for channel, folder in enumerate(folders):
        np.testing.assert_array_equal(found.data[channel], by_simpleitk(folder)[0])
    assert [source.series_uid for source in found.source] == uids  # type: ignore[attr-defined]


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_every_orientation(tmp_path: Path, maker: ModuleType, orientation: Any, modality: str) -> None:
    data = voxels()
    written = maker.write_series(
        tmp_path, data, orientation=orientation, spacing_mm=(0.7, 0.9, 2.5), origin=(-31, 12.5, 99), modality=modality
    )
    found = read_dicom(tmp_path)
    assert found.data.dtype == np.int16
    np.testing.assert_array_equal(found.data[0], data)
    np.testing.assert_allclose(found.affine, written, atol=1e-6)
    oracle, affine = by_simpleitk(tmp_path)
    np.testing.assert_array_equal(found.data[0], oracle)
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), numbers=st.lists(st.integers(0, 99), min_size=6, max_size=6))
def test_names_instance_numbers_and_locations_mean_nothing(
    tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, order: list[int], numbers: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("series")
    data = voxels()
    written = maker.write_series(
        folder,
        data,
        names=[f"{index}.dcm" for index in order],
        InstanceNumber=lambda z: numbers[z],
        SliceLocation=lambda z: str(numbers[z]),
        SliceThickness="77",
        spacing_mm=(1, 1, 3),
    )
    found = read_dicom(folder)
    np.testing.assert_array_equal(found.data[0], data)
    np.testing.assert_allclose(found.affine, written, atol=1e-9)
    headers = found.source[0].headers  # type: ignore[index]
    assert [header.InstanceNumber for header in headers] == numbers
    assert all("PixelData" not in header for header in headers)


def test_slices_written_downwards_are_sorted_upwards(tmp_path: Path, maker: ModuleType) -> None:
    data = voxels()
    series = maker.make_series(data)
    for index, dataset in enumerate(reversed(series)):
        maker.save(tmp_path / f"{index}.dcm", dataset)
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], data)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_native_numbers(tmp_path: Path, maker: ModuleType, dtype: str, syntax: Any) -> None:
    if dtype == "uint8" and syntax == ExplicitVRBigEndian:
        pytest.skip("refused, see test_dicom_refused.py")
    data = voxels(dtype)
    for dataset, name in zip(maker.make_series(data), "abcdef", strict=True):
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "u2").byteswap().tobytes()
        maker.save(tmp_path / f"{name}.dcm", dataset, syntax)
    found = read_dicom(tmp_path)
    assert found.data.dtype == dtype
    np.testing.assert_array_equal(found.data[0], data)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("enhanced", [False, True])
def test_compressed(tmp_path: Path, maker: ModuleType, syntax: Any, signed: bool, enhanced: bool) -> None:
    data = voxels("int16" if signed else "uint16", (64, 48, 3))
    write = maker.write_enhanced if enhanced else maker.write_series
    write(tmp_path / "e.dcm" if enhanced else tmp_path, data, transfer_syntax=syntax)
    found = read_dicom(tmp_path)
    assert found.data.dtype == data.dtype
    np.testing.assert_array_equal(found.data[0], data)


def test_missing_decoder_is_the_machine(tmp_path: Path, maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    maker.write_series(tmp_path, voxels(shape=(64, 64, 3)), transfer_syntax=JPEG2000Lossless)
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    with pytest.raises(MachineError, match=r"JPEG 2000.*pip install 'unetr\[dicom\]'") as raised:
        read_dicom(tmp_path)
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 15), (10, 13)])
def test_only_the_stored_bits_count(tmp_path: Path, maker: ModuleType, signed: bool, stored: int, high: int) -> None:
    rng = np.random.default_rng(1)
    low = -(2 ** (stored - 1)) if signed else 0
    data = rng.integers(low, low + 2**stored, (9, 8, 6)).astype(np.int32)
    shift = high + 1 - stored
    mask = ((1 << stored) - 1) << shift
    raw = ((data << shift) & mask) | (rng.integers(0, 2**16, data.shape) & ~mask & 0xFFFF)
    maker.write_series(
        tmp_path,
        raw.astype(np.uint16).view(np.int16) if signed else raw.astype(np.uint16),
        BitsStored=stored,
        HighBit=high,
        PixelRepresentation=int(signed),
    )
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], data)


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "expected"),
    [
        ("uint16", lambda z: 1, lambda z: -1024, "int32"),
        ("int16", lambda z: 1, lambda z: 0, "int16"),
        ("int16", lambda z: 1, lambda z: 0.5, "float32"),
        ("uint8", lambda z: 1, lambda z: -1024, "int16"),
        ("int16", lambda z: 0.25 + z, lambda z: -3 * z, "float32"),
        ("int16", lambda z: 1, lambda z: 30000 * (z == 2), "int32"),
    ],
)
def test_rescaling(
    tmp_path: Path, maker: ModuleType, dtype: str, slope: Callable[[int], float], intercept: Any, expected: str
) -> None:
    data = voxels(dtype)
    maker.write_series(
        tmp_path,
        data,
        modality="CT",
        RescaleSlope=lambda z: str(slope(z)),
        RescaleIntercept=lambda z: str(intercept(z)),
    )
    found = read_dicom(tmp_path)
    z = np.arange(6)
    wanted = data * np.array([slope(i) for i in z], float) + np.array([intercept(i) for i in z], float)
    assert found.data.dtype == expected
    np.testing.assert_allclose(found.data[0], wanted, rtol=1e-6)
    if len({(slope(i), intercept(i)) for i in z}) == 1:  # SimpleITK wraps around int16 where slices differ
        np.testing.assert_allclose(by_simpleitk(tmp_path)[0], wanted)


def test_usual_ct_is_int16(tmp_path: Path, maker: ModuleType) -> None:
    """16 bits stored, signed and unsigned, intercept -1024, numbers as scanners make them."""
    for dtype in ("int16", "uint16"):
        data = np.random.default_rng(0).integers(0, 4096, (9, 8, 6)).astype(dtype)
        maker.write_series(tmp_path / dtype, data, modality="CT", RescaleIntercept="-1024")
        found = read_dicom(tmp_path / dtype)
        assert found.data.dtype == np.int16
        np.testing.assert_array_equal(found.data[0], data.astype(int) - 1024)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_enhanced_multi_frame(tmp_path: Path, maker: ModuleType, modality: str, orientation: str) -> None:
    data, order = voxels(), [3, 0, 5, 1, 4, 2]
    written = maker.write_enhanced(
        tmp_path / "e.dcm", data, order=order, modality=modality, orientation=orientation, spacing_mm=(1, 2, 3)
    )
    found = read_dicom(tmp_path / "e.dcm")
    np.testing.assert_array_equal(found.data[0], data)
    np.testing.assert_allclose(found.affine, written, atol=1e-6)
    (source,) = found.source  # type: ignore[misc]
    assert len(source.headers) == 1
    assert [order[frame - 1] for frame in source.frames] == list(range(6))
    assert list_series(tmp_path)[0].slices == 6


def test_enhanced_rescaling_of_each_frame(tmp_path: Path, maker: ModuleType) -> None:
    data = voxels()
    maker.write_enhanced(tmp_path / "e.dcm", data, rescale=[(0.5 + z, float(z)) for z in range(6)])
    np.testing.assert_allclose(read_dicom(tmp_path).data[0], data * (0.5 + np.arange(6)) + np.arange(6), rtol=1e-6)
    maker.write_enhanced(tmp_path / "e.dcm", data, rescale=[(2.0, 1.0)])
    np.testing.assert_allclose(read_dicom(tmp_path).data[0], data * 2.0 + 1)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_is_what_the_folder_is(tmp_path: Path, maker: ModuleType, compression: int) -> None:
    data = voxels()
    maker.write_series(tmp_path / "s", data, orientation="coronal")
    path = zipped(tmp_path / "s", tmp_path / "scan.zip", compression)
    from_zip, from_folder = read_dicom(path), read_dicom(tmp_path / "s")
    np.testing.assert_array_equal(from_zip.data, from_folder.data)
    np.testing.assert_array_equal(from_zip.affine, from_folder.affine)
    assert is_dicom(path)
    assert list_series(path)[0].uid == list_series(tmp_path / "s")[0].uid
