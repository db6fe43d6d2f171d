"""DICOM that must be refused: each fault by its own message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from unetr.errors import InputError
from unetr.io.dicom.volume import is_dicom, list_series, read_dicom

SHAPE = (9, 8, 6)
VOXELS = np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)


def at(wanted: int, odd: Any, usual: Any) -> Callable[[int], Any]:
    return lambda z: odd if z == wanted else usual


def position(move: Callable[[int], tuple[float, float, float]]) -> dict[str, Any]:
    """ImagePositionPatient of slice z, moved by move(z) from (-10, -20, 30 + 2 z)."""
    return {
        "ImagePositionPatient": lambda z: [f"{a + b:.6f}" for a, b in zip((-10, -20, 30 + 2 * z), move(z), strict=True)]
    }


AXIAL = ["1", "0", "0", "0", "1", "0"]
# Overrides of a sound series of six slices 2 mm apart -> what the message must say.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "gap": (position(lambda z: (0, 0, 2 * (z > 2))), r"0002\.dcm: .*1 slice is missing, between 34\.00 and 38\.00 mm"),
    "gap of 3": (position(lambda z: (0, 0, 6 * (z > 2))), r"3 slices are missing, between 34\.00 and 42\.00 mm"),
    "duplicate": (position(lambda z: (0, 0, -2 * (z == 3))), r"same position as .*0002\.dcm, 34\.00 mm"),
    "almost a duplicate": (position(lambda z: (0, 0, -1.995 * (z == 3))), "same position"),
    "all at one place": (position(lambda z: (0, 0, -2 * z)), "same position"),
    "uneven": (position(lambda z: (0, 0, 0.3 * (z == 3))), r"0003\.dcm: is 0\.3 mm away from equal steps of 2 mm"),
    "slowly uneven": (position(lambda z: (0, 0, 0.02 * z * z)), "variable spacing"),
    "gantry tilt": (position(lambda z: (0, 0.1 * z, 0)), r"gantry tilt: .* 2\.86 degrees"),
    "sideways": (position(lambda z: (0.5 * (z == 2), 0, 0)), r"0002\.dcm: is 0\.5 mm away"),
    "orientation": ({"ImageOrientationPatient": at(4, ["1", "0", "0", "0", "0", "-1"], AXIAL)}, "0004.*orientation"),
    "orientation a bit": (
        {"ImageOrientationPatient": at(4, ["1", "0", "0", "0", "0.9999995", "0.001"], AXIAL)},
        "0004.*orientation differs",
    ),
    "localizer": (
        {
            "ImageOrientationPatient": at(4, ["1", "0", "0", "0", "0", "-1"], AXIAL),
            "ImageType": at(4, ["ORIGINAL", "PRIMARY", "LOCALIZER"], ["ORIGINAL", "PRIMARY", "AXIAL"]),
        },
        r"1 slice is missing, .*0004\.dcm: is a localizer of the series and was left out",
    ),
    "not unit vectors": ({"ImageOrientationPatient": ["2", "0", "0", "0", "1", "0"]}, "perpendicular unit vectors"),
    "oblique vectors": ({"ImageOrientationPatient": ["1", "0", "0", "0.6", "0.8", "0"]}, "perpendicular unit vectors"),
    "zero vectors": ({"ImageOrientationPatient": ["0"] * 6}, "perpendicular unit vectors"),
    "five cosines": ({"ImageOrientationPatient": ["1", "0", "0", "0", "1"]}, "not 6 finite numbers"),
    "spacing differs": ({"PixelSpacing": at(5, ["1", "1.01"], ["1", "1"])}, "0005.*PixelSpacing differs"),
    "spacing zero": ({"PixelSpacing": ["0", "1"]}, "PixelSpacing is 0×1 mm"),
    "spacing negative": ({"PixelSpacing": ["1", "-1"]}, "PixelSpacing is 1×-1 mm"),
    "spacing once": ({"PixelSpacing": "1"}, "not 2 finite numbers"),
    "spacing empty": ({"PixelSpacing": None}, "has no PixelSpacing"),
    "class": ({"SOPClassUID": at(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4")}, r"0001.*CT Image"),
    "class of no image": (
        {"SOPClassUID": at(5, "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.4")},
        "Secondary",
    ),
    "colour": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"3 values per pixel \(RGB\)"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "grey"),
    "frames": ({"NumberOfFrames": 2}, "several frames"),
    "frame of reference": ({"FrameOfReferenceUID": at(2, "1.2", "1.3")}, "0002.*FrameOfReferenceUID differs"),
    "study": ({"StudyInstanceUID": at(2, "1.2", "1.3")}, "StudyInstanceUID differs"),
    "patient": ({"PatientID": at(2, "A", "B")}, "PatientID differs"),
    "instance": ({"SOPInstanceUID": "1.2"}, "same instance as"),
    "bits": ({"BitsAllocated": 12}, "16 of 12 bits"),
    "too many bits": ({"BitsStored": 17}, "17 of 16 bits"),
    "high bit": ({"BitsStored": 12, "HighBit": 3}, "up to bit 3"),
    "representation": ({"PixelRepresentation": 2}, "PixelRepresentation 2"),
    "slope zero": ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope"),
    "slope alone": ({"RescaleSlope": "2"}, "RescaleIntercept"),
    "slope of some": (
        {"RescaleSlope": at(1, "2", None), "RescaleIntercept": at(1, "1", None)},
        "0001.*rescaling differs",
    ),
    "short pixel data": ({"PixelData": bytes(142)}, "has 142 bytes of pixel data; expected 144"),
    "long pixel data": ({"PixelData": bytes(2 * 9 * 8) + b"abcd" * 9}, "has 180 bytes of pixel data; expected 144"),
    "empty pixel data": ({"PixelData": b""}, "no pixel data"),
    "rows": ({"Rows": 7}, "144 bytes of pixel data; expected 126"),
    "huge rows": ({"Rows": 65535, "Columns": 65535}, "claims 4294836225 pixels in a file of"),
    "no rows": ({"Rows": 0}, "9×0 pixels"),
    "series": ({"SeriesInstanceUID": ...}, "no SeriesInstanceUID"),
}
NEEDED = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "SOPInstanceUID", "PixelData"),
)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named(tmp_path: Path, maker: ModuleType, fault: str) -> None:
    overrides, message = FAULTS[fault]
    maker.write_series(tmp_path, VOXELS, spacing_mm=(1, 1, 2), **overrides)
    with pytest.raises(InputError, match=message) as raised:
        read_dicom(tmp_path)
    assert maker.PATIENT_NAME not in str(raised.value)
    assert is_dicom(tmp_path)


@pytest.mark.parametrize("tag", NEEDED)
@pytest.mark.parametrize("slices", [range(6), (5,)], ids=["all", "last"])
def test_missing_tag(tmp_path: Path, maker: ModuleType, tag: str, slices: Any) -> None:
    for z, dataset in enumerate(maker.make_series(VOXELS)):
        if z in slices:
            delattr(dataset, tag)
        maker.save(tmp_path / f"{z}.dcm", dataset)
    with pytest.raises(InputError, match=f"{slices[0]}.dcm: has no (pixel data|{tag})"):
        read_dicom(tmp_path)


def test_sound_within_tolerance(tmp_path: Path, maker: ModuleType) -> None:
    """The faults above are faults by size: smaller ones are rounding."""
    maker.write_series(tmp_path / "a", VOXELS, **position(lambda z: (0.001 * z, 0, 0.01 * (z == 3))))
    maker.write_series(tmp_path / "b", VOXELS, PixelSpacing=at(3, ["1", "1.00001"], ["1", "1"]))
    for name in "ab":
        np.testing.assert_array_equal(read_dicom(tmp_path / name).data[0], VOXELS)


def test_mixed_sizes(tmp_path: Path, maker: ModuleType) -> None:
    uid = generate_uid()
    series = maker.make_series(VOXELS, SeriesInstanceUID=uid)
    series[3].Rows, series[3].Columns = 9, 8
    for z, dataset in enumerate(series):
        maker.save(tmp_path / f"{z}.dcm", dataset)
    with pytest.raises(InputError, match=r"3\.dcm: its pixels differs"):
        read_dicom(tmp_path)


def test_a_single_slice_is_2d(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path, VOXELS)
    with pytest.raises(InputError, match="single slice, is 2D"):
        read_dicom(tmp_path / "0003.dcm")
    assert list_series(tmp_path / "0003.dcm")[0].shape is None


@pytest.mark.parametrize("order", [[0, 1, 2, 0, 1, 2], [0, 1, 3, 4]])
def test_enhanced_faults(tmp_path: Path, maker: ModuleType, order: list[int]) -> None:
    maker.write_enhanced(tmp_path / "e.dcm", VOXELS, order=order)
    with pytest.raises(InputError, match=r"e\.dcm, frame \d: (is at the same position|after it about 1 slice)"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"NumberOfFrames": 5}, "NumberOfFrames 5 and describes 6 frames"),
        ({"NumberOfFrames": ...}, "no NumberOfFrames"),
        ({"PerFrameFunctionalGroupsSequence": ...}, "describes 0 frames"),
        ({"SharedFunctionalGroupsSequence": ...}, "no ImageOrientationPatient"),
        ({"PixelData": bytes(2 * 9 * 8 * 5)}, "has 720 bytes of pixel data; expected 864 for 6 × 9×8"),
    ],
)
def test_enhanced_header_faults(tmp_path: Path, maker: ModuleType, overrides: dict[str, Any], message: str) -> None:
    maker.write_enhanced(tmp_path / "e.dcm", VOXELS, **overrides)
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


def test_two_enhanced_instances(tmp_path: Path, maker: ModuleType) -> None:
    same = {"SeriesInstanceUID": "1.2", "StudyInstanceUID": "1.3", "FrameOfReferenceUID": "1.4"}
    for name in "ab":
        maker.write_enhanced(tmp_path / f"{name}.dcm", VOXELS, **same)
    with pytest.raises(InputError, match="one of 2 multi-frame instances"):
        read_dicom(tmp_path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_truncated_codestream(tmp_path: Path, maker: ModuleType, syntax: Any) -> None:
    import pydicom
    from pydicom.encaps import encapsulate, generate_frames

    data = np.random.default_rng(0).integers(0, 999, (64, 64, 3), dtype=np.uint16)
    maker.write_series(tmp_path, data, transfer_syntax=syntax)
    path = tmp_path / "0001.dcm"
    dataset = pydicom.dcmread(path)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    for kept in (len(frame) // 2, len(frame) - 40, 10):
        dataset.PixelData = encapsulate([frame[:kept]])
        dataset.save_as(path)
        with pytest.raises(InputError, match=r"0001\.dcm: .*(decoded|whole compressed frames)"):
            read_dicom(tmp_path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_codestream_of_another_size(tmp_path: Path, maker: ModuleType, syntax: Any) -> None:
    import pydicom

    data = np.random.default_rng(0).integers(0, 999, (64, 32, 3), dtype=np.uint16)
    maker.write_series(tmp_path, data, transfer_syntax=syntax)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
        dataset.save_as(path)
    with pytest.raises(InputError, match="whole compressed frames of 32×64"):
        read_dicom(tmp_path)


def test_syntaxes_that_are_not_read(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path / "deflated", VOXELS, transfer_syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(InputError, match="deflated dataset"):
        read_dicom(tmp_path / "deflated")
    series = maker.make_series(VOXELS.astype(np.uint8))
    for z, dataset in enumerate(series):
        maker.save(tmp_path / "big" / f"{z}.dcm", dataset, ExplicitVRBigEndian)
    with pytest.raises(InputError, match="8-bit pixels in the big-endian"):
        read_dicom(tmp_path / "big")
    maker.write_series(tmp_path / "video", VOXELS)
    for path in (tmp_path / "video").iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"))
    with pytest.raises(InputError, match="transfer syntax"):
        read_dicom(tmp_path / "video")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0005.dcm", b"", r"0005\.dcm: is empty"),
        ("0005.dcm", b"x" * 400, r"0005\.dcm: is not DICOM"),
        ("9.DCM", b"x" * 400, r"9\.DCM: is not DICOM"),
        ("0005.dcm", bytes(128) + b"DICM", r"0005\.dcm: "),
        ("0005.dcm", bytes(128) + b"DICM" + b"\xff" * 300, r"0005\.dcm: "),
    ],
)
def test_a_file_that_should_be_a_slice(
    tmp_path: Path, maker: ModuleType, name: str, content: bytes, message: str
) -> None:
    maker.write_series(tmp_path, VOXELS)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


def test_paths_without_a_series(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    for name, message in (("empty", "no files"), ("text", "no CT, MR or PET"), ("absent", "no such file")):
        with pytest.raises(InputError, match=message):
            read_dicom(tmp_path / name)
