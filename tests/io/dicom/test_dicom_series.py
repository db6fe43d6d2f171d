"""The series of a DICOM folder: listed, chosen, several as channels, and what is left out."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from unetr.errors import InputError
from unetr.io.dicom.volume import is_dicom, list_series, read_dicom


def voxels(dtype: str = "int16", shape: tuple[int, ...] = (9, 8, 6), seed: int = 0) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def zipped(folder: Path, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"study/{file.relative_to(folder)}")
    return path


def test_other_objects_and_files_are_left_out(tmp_path: Path, maker: ModuleType) -> None:
    data = voxels()
    maker.write_series(tmp_path / "s", data)
    for index, sop_class in enumerate(
        ("88.11", "481.3", "66.4", "11.1", "88.59", "104.1"), 1
    ):  # SR, RTSTRUCT, SEG, presentation state, key objects, PDF
        other = pydicom.Dataset()
        other.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{sop_class}"
        other.SOPInstanceUID, other.SeriesInstanceUID = generate_uid(), generate_uid()
        maker.save(tmp_path / "s" / f"other {index}.dcm", other)
    directory = pydicom.Dataset()
    directory.DirectoryRecordSequence = []
    directory.SOPClassUID = "1.2.840.10008.1.3.10"
    maker.save(tmp_path / "DICOMDIR", directory)
    (tmp_path / "s" / "README").write_text("a scan")
    (tmp_path / "s" / "notes.txt").write_text("a scan")
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], data)


def test_series_are_listed_and_chosen(tmp_path: Path, maker: ModuleType) -> None:
    uids = [generate_uid() for _ in range(3)]
    for index, uid in enumerate(uids):
        maker.write_series(
            tmp_path / str(index),
            voxels(seed=index),
            SeriesInstanceUID=uid,
            SeriesNumber=3 - index,
            SeriesDescription=f"kind {index}",
            spacing_mm=(1, 2, 3),
        )
    found = list_series(tmp_path)
    assert [each.uid for each in found] == uids[::-1]
    assert (found[0].modality, found[0].description, found[0].instances) == ("MR", "kind 2", 6)
    assert found[0].shape == (9, 8, 6)
    assert found[0].spacing_mm == pytest.approx((1, 2, 3))
    np.testing.assert_array_equal(read_dicom(tmp_path, [uids[1]]).data[0], voxels(seed=1))
    with pytest.raises(InputError, match="3 series; choose by UID") as raised:
        read_dicom(tmp_path)
    assert raised.value.hint == "series"
    assert all(f'{uid} (MR "kind {index}"), 6 slices' in str(raised.value) for index, uid in enumerate(uids))
    with pytest.raises(InputError, match=r"has no series 1\.2\.3; expected one of"):
        read_dicom(tmp_path, ["1.2.3"])
    with pytest.raises(InputError, match="given twice"):
        read_dicom(tmp_path, [uids[0], uids[0]])


def test_channels_of_one_frame_of_reference(tmp_path: Path, maker: ModuleType) -> None:
    shared = {"FrameOfReferenceUID": generate_uid(), "StudyInstanceUID": generate_uid()}
    uids = [generate_uid() for _ in range(2)]
    kinds = [voxels("int16"), voxels("uint16")]
    for index, uid in enumerate(uids):
        maker.write_series(tmp_path / str(index), kinds[index], SeriesInstanceUID=uid, orientation="oblique", **shared)
    found = read_dicom(tmp_path, uids[::-1])
    assert found.data.shape == (2, 9, 8, 6)
    np.testing.assert_array_equal(found.data[0], kinds[1])
    np.testing.assert_array_equal(found.data[1], kinds[0])


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"FrameOfReferenceUID": generate_uid()}, (9, 8, 6), "do not share a frame of reference"),
        ({"origin": (-10, -20, 30.01)}, (9, 8, 6), "0.01 mm apart"),
        ({"spacing_mm": (1, 1, 1.1)}, (9, 8, 6), "0.5 mm apart"),
        ({"orientation": "coronal"}, (9, 8, 6), "mm apart"),
        ({}, (9, 8, 5), "9×8×5 and 9×8×6 voxels"),
    ],
)
def test_channels_of_different_grids(
    tmp_path: Path, maker: ModuleType, changes: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    shared = {"FrameOfReferenceUID": generate_uid()}
    uids = [generate_uid() for _ in range(2)]
    maker.write_series(tmp_path / "a", voxels(), SeriesInstanceUID=uids[0], **shared)
    maker.write_series(
        tmp_path / "b", voxels(shape=shape), SeriesInstanceUID=uids[1], SeriesDescription="odd", **(shared | changes)
    )
    with pytest.raises(InputError, match=message) as raised:
        read_dicom(tmp_path, uids)
    assert all(uid in str(raised.value) for uid in uids)


def test_is_dicom(tmp_path: Path, maker: ModuleType, save_scan: Callable[..., Path]) -> None:
    maker.write_series(tmp_path / "a" / "b", voxels(), names=[f"IM{index}" for index in range(6)])
    assert is_dicom(tmp_path / "a")
    assert is_dicom(tmp_path / "a" / "b" / "IM0")
    assert not is_dicom(tmp_path / "absent")
    (tmp_path / "text").mkdir()
    assert not is_dicom(tmp_path / "text")
    (tmp_path / "text" / "x.dcm").write_text("x" * 500)
    assert not is_dicom(tmp_path / "text")
    assert not is_dicom(tmp_path / "text" / "x.dcm")
    assert not is_dicom(zipped(tmp_path / "text", tmp_path / "text.zip"))
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert is_dicom(tmp_path / "broken.zip")  # read_dicom says what is wrong with it
    scan = save_scan(tmp_path / "a" / "scan.nii.gz", np.zeros((4, 4, 4), np.int16))
    assert not is_dicom(scan)
    assert not is_dicom(tmp_path / "a")


def test_importing_does_not_import_pydicom() -> None:
    code = "import sys, unetr.io.dicom.volume; sys.exit('pydicom' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
