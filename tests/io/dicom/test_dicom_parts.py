"""Sound DICOM that used to be refused, and missing parts that no gap shows."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from unetr.errors import InputError
from unetr.io.dicom.volume import read_dicom

VOXELS = np.random.default_rng(0).integers(0, 1000, (9, 8, 6), dtype=np.uint16)
STUDY = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"}


def concatenation(maker: ModuleType, folder: Path, *, total: int | None = 3, **overrides: Any) -> None:
    """Six slices in three parts of 1, 2 and 3 frames, named so that their order is another."""
    for number, (first, end) in enumerate(((0, 1), (1, 3), (3, 6)), start=1):
        said: dict[str, Any] = {
            "ConcatenationUID": "1.2.6",
            "InConcatenationNumber": number,
            "InConcatenationTotalNumber": ... if total is None else total,
            "ConcatenationFrameOffsetNumber": first,
        }
        part = VOXELS[:, :, first:end]
        maker.write_enhanced(
            folder / f"{9 - number}.dcm", part, origin=(-10, -20, 30 + 2 * first), spacing_mm=(1, 1, 2), **STUDY,
            **(said | overrides),
        )  # fmt: skip


@pytest.mark.fault("parts of a concatenation")
@pytest.mark.parametrize("total", [3, None])
def test_all_parts_are_joined(tmp_path: Path, maker: ModuleType, total: int | None) -> None:
    concatenation(maker, tmp_path, total=total)
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], VOXELS)
    np.testing.assert_allclose(found.affine, maker.ras_affine((1, 1, 2), "axial", (-10, -20, 30)), atol=1e-6)
    assert len(found.doubts) == (total is None)


@pytest.mark.fault("parts of a concatenation")
@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ((1, 2), "is part 3 of 3 of a concatenation"),
        ((2, 3), "is part 1 of 3"),
        ((2,), "is part 1, 3 of 3"),
        ((3,), "1, 2 of 3"),
    ],
)
def test_a_part_is_missing(tmp_path: Path, maker: ModuleType, missing: tuple[int, ...], message: str) -> None:
    concatenation(maker, tmp_path)
    for number in missing:
        (tmp_path / f"{9 - number}.dcm").unlink()
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


@pytest.mark.fault("parts of a concatenation")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"InConcatenationNumber": 1}, "is part 1, 1, 1 of 3"),
        ({"ConcatenationFrameOffsetNumber": 0}, "frames follow on 0 frames"),
        ({"InConcatenationNumber": ...}, "is part 0, 0, 0 of 3"),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, maker: ModuleType, overrides: dict[str, Any], message: str) -> None:
    concatenation(maker, tmp_path, **overrides)
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


PROMISES: dict[str, tuple[dict[str, Any], str]] = {
    "ImagesInAcquisition": ({"ImagesInAcquisition": "40"}, "ImagesInAcquisition 40, 6 are there"),
    "NumberOfSlices": ({"NumberOfSlices": 7}, "NumberOfSlices 7, 6 are there"),
    "related instances": ({"NumberOfSeriesRelatedInstances": "7"}, "NumberOfSeriesRelatedInstances 7, 6"),
    "gap in the numbers": ({"InstanceNumber": lambda z: z + 1 + (z > 2)}, "run from 1 to 7, 1 of them"),
    "every second": ({"InstanceNumber": lambda z: 2 * z + 1}, "run from 1 to 11, 5 of them"),
    "numbers begin late": ({"InstanceNumber": lambda z: z + 11}, "begin at 11"),
    "spacing": ({"SpacingBetweenSlices": "1"}, "are 2 mm apart, SpacingBetweenSlices is 1"),
}


@pytest.mark.fault("slices missing where no gap shows")
@pytest.mark.parametrize("promise", PROMISES)
def test_more_slices_are_promised(tmp_path: Path, maker: ModuleType, promise: str) -> None:
    overrides, message = PROMISES[promise]
    maker.write_series(tmp_path, VOXELS, spacing_mm=(1, 1, 2), **overrides)
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], VOXELS)
    (note,) = found.doubts
    assert message in note and note.endswith("are slices missing?")


def test_promises_that_are_kept(tmp_path: Path, maker: ModuleType) -> None:
    """An acquisition's promise is counted by acquisition; SpacingBetweenSlices is sometimes the gap alone."""
    acquisitions = {"AcquisitionNumber": lambda z: z // 3, "ImagesInAcquisition": "3", "InstanceNumber": lambda z: z}
    maker.write_series(tmp_path / "a", VOXELS, **acquisitions)
    maker.write_series(tmp_path / "b", VOXELS, spacing_mm=(1, 1, 7.5), SliceThickness="5", SpacingBetweenSlices="2.5")
    for name in "ab":
        assert read_dicom(tmp_path / name).doubts == ()


LOCALIZERS: dict[str, dict[str, Any]] = {
    "orientation": {"ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"]},
    "size": {"Rows": 16, "Columns": 4, "PixelData": bytes(128)},
}


@pytest.mark.fault("localizer in a series")
@pytest.mark.parametrize("kind", LOCALIZERS)
def test_a_localizer_is_left_out(tmp_path: Path, maker: ModuleType, kind: str) -> None:
    maker.write_series(tmp_path, VOXELS, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], **STUDY)
    scout = maker.make_series(VOXELS[:, :, :1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **STUDY)[0]
    for keyword, value in LOCALIZERS[kind].items():
        setattr(scout, keyword, value)
    scout.InstanceNumber = 7
    maker.save(tmp_path / "scout.dcm", scout)
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], VOXELS)
    (note,) = found.notes
    assert not found.doubts and "scout.dcm: is a localizer of the series and was left out" in note
    assert len(found.source[0].headers) == 6  # type: ignore[index]


@pytest.mark.fault("rounded slice positions")
@pytest.mark.parametrize("orientation", ["axial", "coronal", "oblique"])
@pytest.mark.parametrize(("step_mm", "digits"), [(1.25, 1), (0.625, 2), (2.5, 0), (3.75, 0), (0.8, 1), (1.3333, 1)])
def test_rounded_positions(tmp_path: Path, maker: ModuleType, orientation: str, step_mm: float, digits: int) -> None:
    data = np.random.default_rng(1).integers(0, 1000, (4, 4, 35), dtype=np.uint16)
    normal = maker.directions(orientation)[2]
    if np.abs(normal).max() * step_mm < 2.5 * 10**-digits:
        pytest.skip("a rounding of more than a quarter of a step")
    rounded = {
        "ImagePositionPatient": lambda z: [f"{x:.{digits}f}" for x in np.array([1, 2, 3]) + z * step_mm * normal]
    }
    maker.write_series(tmp_path, data, spacing_mm=(1, 1, step_mm), orientation=orientation, **rounded)
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], data)
    exact = maker.ras_affine((1, 1, step_mm), orientation, (1, 2, 3))
    corner = np.array([3, 3, 34, 1])
    assert np.abs((found.affine - exact) @ corner)[:3].max() <= 10**-digits
    assert found.spacing_mm[2] == pytest.approx(step_mm, rel=0.01)


@pytest.mark.fault("rounded slice positions")
@pytest.mark.parametrize(
    ("moved", "message"),
    [
        (lambda z: 1.25 * (z > 20), "1 slice is missing"),
        (lambda z: 0.3 * (z == 7), r"0007\.dcm: is 0\.\d+ mm away.*variable spacing"),
        (lambda z: 0.005 * z * z, "variable spacing|missing"),
    ],
)
def test_rounding_hides_no_fault(tmp_path: Path, maker: ModuleType, moved: Any, message: str) -> None:
    data = np.zeros((4, 4, 35), np.uint16)
    maker.write_series(tmp_path, data, ImagePositionPatient=lambda z: ["0", "0", f"{1.25 * z + moved(z):.1f}"])
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


@pytest.mark.fault("padded pixel data")
@pytest.mark.parametrize("padding", [b"\0" * 2, b"\0" * 114, b"\xff" * 30, b"abcdefgh"])
def test_native_padding(tmp_path: Path, maker: ModuleType, padding: bytes) -> None:
    for z, dataset in enumerate(maker.make_series(VOXELS, SeriesInstanceUID="1.2.3")):
        dataset.PixelData += padding
        maker.save(tmp_path / f"{z}.dcm", dataset)
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], VOXELS)


@pytest.mark.fault("padded pixel data")
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("padding", [2, 32, 200])
def test_padded_codestreams(tmp_path: Path, maker: ModuleType, syntax: Any, padding: int) -> None:
    data = np.random.default_rng(0).integers(0, 999, (64, 48, 3), dtype=np.uint16)
    maker.write_series(tmp_path, data, transfer_syntax=syntax)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([frame + bytes(padding)])
        dataset.save_as(path)
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], data)
